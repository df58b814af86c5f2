package report

import (
	"fmt"
	"html"
	"strings"

	"github.com/strakehq/strake/test/bench/measure"
)

// Geometry of a plot, in pixels.
const (
	labelWidth = 190
	plotWidth  = 520
	rowHeight  = 26
	margin     = 34
	valueWidth = 110
)

// Plot draws the series of one measurement: a bar as long as the median, and a
// dot for every sample, in the order in which they were measured from top to
// bottom.
func Plot(series []*measure.Series) string {
	var top float64
	for _, s := range series {
		for _, v := range s.Sample {
			top = max(top, v)
		}
	}
	if top == 0 {
		top = 1
	}
	height := margin + rowHeight*len(series) + 10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		labelWidth+plotWidth+valueWidth, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&b, `<text x="8" y="20" font-size="14">%s, %s</text>`+"\n", html.EscapeString(series[0].Name), html.EscapeString(series[0].Unit))
	for i, s := range series {
		plotRow(&b, s, margin+i*rowHeight, top)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func plotRow(b *strings.Builder, s *measure.Series, y int, top float64) {
	x := func(v float64) float64 { return labelWidth + v/top*plotWidth }
	colour := "#9aa5b1"
	if strings.HasPrefix(s.Engine, strake) {
		colour = "#2f7d5b"
	}
	median := measure.Median(s.Sample)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+17, html.EscapeString(s.Engine))
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y+4, max(x(median)-labelWidth, 1), rowHeight-8, colour)
	for i, v := range s.Sample {
		at := float64(y+6) + float64(rowHeight-12)*(float64(i)+0.5)/float64(len(s.Sample))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="1.6" fill="#1b1f24" fill-opacity="0.55"/>`+"\n", x(v), at)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", x(top)+8, y+17, html.EscapeString(number(median, s.Unit)))
}

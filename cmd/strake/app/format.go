package app

// FormatHelp is the help text of --format.
const FormatHelp = `Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template`

// Format is the value of --format for the formatter: a table by default.
func Format(flag string) string {
	if flag == "" {
		return "table"
	}
	return flag
}

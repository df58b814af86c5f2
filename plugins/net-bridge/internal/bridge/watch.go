package bridge

import (
	"context"
	"fmt"
	"time"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall/nft"
	"github.com/strakehq/strake/sdk/driver"
)

// checkEvery bounds the time for which flushed rules stay away.
const checkEvery = 2 * time.Second

const autoFirewall = "auto"

// watch puts back rules that somebody else has removed.
func (d *Driver) watch(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.repairRules(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (d *Driver) repairRules(ctx context.Context) {
	repaired, err := d.rules.Repair(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.log.Error("firewall rules cannot be checked or repaired", "err", err)
		d.health.set(driver.Health{Status: driver.Degraded, Reason: fmt.Sprintf("firewall rules cannot be put in place: %v", err)})
	default:
		if repaired {
			d.log.Warn("firewall rules had been removed by somebody else and were put back", "backend", d.rules.Backend())
		}
		d.health.set(driver.Health{Status: driver.Ready})
	}
}

func openFirewall(_ context.Context, s settings) (firewall.Backend, error) {
	return nft.Open(firewall.NamesFor(s.Bridge))
}

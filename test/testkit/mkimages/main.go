// Mkimages builds the test images from Debian packages and pushes them to a
// registry on loopback as library/<name>:latest.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/strakehq/strake/test/testkit/debimage"
)

func main() {
	registry := flag.String("registry", "127.0.0.1:5000", "where to push")
	cache := flag.String("cache", ".build/debs", "directory for downloaded packages")
	flag.Parse()
	names := flag.Args()
	if len(names) == 0 {
		names = debimage.Names()
	}
	for _, n := range names {
		if err := push(context.Background(), *registry, *cache, n); err != nil {
			fmt.Fprintln(os.Stderr, "mkimages:", err)
			os.Exit(1)
		}
	}
}

func push(ctx context.Context, registry, cache, image string) error {
	ref, err := name.ParseReference(registry+"/library/"+image+":latest", name.Insecure)
	if err != nil {
		return err
	}
	if _, err := remote.Head(ref, remote.WithContext(ctx)); err == nil {
		return nil // a former run pushed it
	}
	idx, err := debimage.Build(ctx, image, cache)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(ref, idx, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	_, err = fmt.Fprintln(os.Stdout, "pushed", ref)
	return err
}

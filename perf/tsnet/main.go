// SPDX-License-Identifier: BSD-3-Clause

// Nodes of Tailscale's own client library, all in one process, that join a control server at once.
// Prints as JSON how long it took until each knew all others. perf/control_clients.py runs it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tailscale.com/ipn"
	"tailscale.com/tsnet"
)

// until the node's netmap has `peers` peers.
func join(ctx context.Context, server *tsnet.Server, peers int) error {
	if err := server.Start(); err != nil {
		return err
	}
	client, err := server.LocalClient()
	if err != nil {
		return err
	}
	watcher, err := client.WatchIPNBus(ctx, ipn.NotifyInitialNetMap)
	if err != nil {
		return err
	}
	defer watcher.Close()
	for {
		// The bus tells that something changed; the status says what there is.
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if len(status.Peer) == peers {
			return nil
		}
		if _, err := watcher.Next(); err != nil {
			return err
		}
	}
}

func main() {
	url := flag.String("url", "", "of the control server")
	key := flag.String("key", "", "a reusable key")
	n := flag.Int("n", 50, "nodes")
	dir := flag.String("dir", "", "where they keep their state")
	limit := flag.Duration("limit", 2*time.Minute, "after which it is given up")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	servers := make([]*tsnet.Server, *n)
	for i := range servers {
		servers[i] = &tsnet.Server{
			Dir:        filepath.Join(*dir, fmt.Sprint(i)),
			Hostname:   fmt.Sprintf("tsnet-%d", i),
			AuthKey:    *key,
			ControlURL: *url,
			Logf:       func(string, ...any) {},
			UserLogf:   func(string, ...any) {},
		}
		if err := os.MkdirAll(servers[i].Dir, 0o700); err != nil {
			log.Fatal(err)
		}
	}
	began := time.Now()
	took := make([]float64, *n)
	errs := make([]error, *n)
	var all sync.WaitGroup
	for i, server := range servers {
		all.Go(func() {
			errs[i] = join(ctx, server, *n-1)
			took[i] = time.Since(began).Seconds()
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			log.Fatalf("node %d: %v", i, err)
		}
	}
	slices.Sort(took)
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"seconds": took[*n-1], "p50": took[*n/2], "first": took[0]})
	os.Exit(0) // what is measured is over; to close nodes in order takes longer than to join
}

// SPDX-License-Identifier: BSD-3-Clause

// derp_go drives a relay with Tailscale's own client library, and prints what its clients saw: one
// JSON object, scenario by scenario. It judges nothing; whoever runs it against two relays compares.
//
//	derp_go [-pin SHA256] [-mesh KEY] [-only NAME,...] HOST:PORT
//	derp_go [-pin SHA256] -set-up N HOST:PORT
//	derp_go [-pin SHA256] -stay N HOST:PORT
//
// The second only sets up N connections, 16 at a time, for who counts what they cost the relay. The
// third has N that stay, says "ready", and at the end of its input what became of them.
// With -pin it is TLS and the relay is the second node of a region, as clients know it from a map;
// without, it is the plain URL. TS_DEBUG_DERP_WS_CLIENT=1 makes the clients speak WebSocket.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const (
	patience = 20 * time.Second       // for what must come
	quiet    = 250 * time.Millisecond // for what must not
	discoMin = 62                     // bytes; what looks like a disco message is not shorter
)

var (
	pin  = flag.String("pin", "", "SHA-256 of the relay's certificate")
	mesh = flag.String("mesh", "", "the key of the mesh, 64 hex digits")
	many = flag.Int("set-up", 0, "how many connections")
	stay = flag.Int("stay", 0, "how many connections that stay")
	only = flag.String("only", "", "names of scenarios")
)

// world is one scenario: who takes part, and what was seen.
type world struct {
	host, port string
	mu         sync.Mutex
	names      map[key.NodePublic]string
	actors     []*actor
	seen       []string
}

type actor struct {
	name   string
	w      *world
	key    key.NodePrivate
	client *derphttp.Client
	events chan string
}

type failure string

func fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (w *world) name(k key.NodePublic) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name, ok := w.names[k]; ok {
		return name
	}
	return "somebody"
}

// note keeps what was seen, in order.
func (w *world) note(format string, args ...any) {
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

func (w *world) region(ideal bool) *tailcfg.DERPRegion {
	port, _ := strconv.Atoi(w.port)
	node := &tailcfg.DERPNode{Name: "900b", RegionID: 900, HostName: w.host, IPv4: w.host, IPv6: "none", DERPPort: port,
		CertName: "sha256-raw:" + *pin}
	nodes := []*tailcfg.DERPNode{node}
	if !ideal { // nobody listens at the first node
		nodes = []*tailcfg.DERPNode{{Name: "900a", RegionID: 900, HostName: w.host, IPv4: w.host, IPv6: "none", DERPPort: 1},
			node}
	}
	return &tailcfg.DERPRegion{RegionID: 900, RegionCode: "test", RegionName: "Test", Nodes: nodes}
}

type option func(a *actor)

func withKey(k key.NodePrivate) option { return func(a *actor) { a.key = k } }
func prober(a *actor)                  { a.client.IsProber = true }
func watcher(a *actor)                 { a.client.WatchConnectionChanges = true }
func meshKey(text string) option {
	return func(a *actor) {
		k, err := key.ParseDERPMesh(text)
		if err != nil {
			fail("mesh key: %v", err)
		}
		a.client.MeshKey = k
	}
}

func (w *world) newClient(a *actor, ideal bool) *derphttp.Client {
	quietly := func(string, ...any) {}
	if *pin != "" {
		return derphttp.NewRegionClient(a.key, quietly, netmon.NewStatic(), func() *tailcfg.DERPRegion { return w.region(ideal) })
	}
	c, err := derphttp.NewClient(a.key, fmt.Sprintf("http://%s:%s/derp", w.host, w.port), quietly, netmon.NewStatic())
	if err != nil {
		fail("client: %v", err)
	}
	return c
}

// dial opens a connection, which the relay may refuse later.
func (w *world) dial(name string, ideal bool, options ...option) *actor {
	a := &actor{name: name, w: w, key: key.NewNode(), events: make(chan string, 4096)}
	for _, o := range options {
		probe := &actor{client: &derphttp.Client{}}
		if o(probe); !probe.key.IsZero() {
			a.key = probe.key
		}
	}
	a.client = w.newClient(a, ideal)
	for _, o := range options {
		o(a)
	}
	w.mu.Lock()
	w.names[a.key.Public()] = name
	w.mu.Unlock()
	w.actors = append(w.actors, a)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.client.Connect(ctx); err != nil {
		fail("%s cannot connect: %v", name, err)
	}
	go a.read()
	return a
}

// join is dial, and the relay has said who it is.
func (w *world) join(name string, options ...option) *actor {
	a := w.dial(name, true, options...)
	a.wait("server info")
	return a
}

func digest(b []byte) string {
	if len(b) <= 16 {
		return string(b)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))[:16]
}

func (a *actor) describe(m derp.ReceivedMessage) string {
	switch m := m.(type) {
	case derp.ReceivedPacket:
		return fmt.Sprintf("packet from %s: %d bytes %s", a.w.name(m.Source), len(m.Data), digest(m.Data))
	case derp.PeerGoneMessage:
		return fmt.Sprintf("%s is gone, reason %d", a.w.name(m.Peer), m.Reason)
	case derp.PeerPresentMessage:
		return fmt.Sprintf("%s is present from %s, port %t, flags %d", a.w.name(m.Key), m.IPPort.Addr(), m.IPPort.Port() != 0,
			m.Flags)
	case derp.ServerInfoMessage:
		return fmt.Sprintf("server info %d %d", m.TokenBucketBytesPerSecond, m.TokenBucketBytesBurst)
	case derp.PongMessage:
		return fmt.Sprintf("pong %x", m[:])
	case derp.HealthMessage:
		return fmt.Sprintf("health %q", m.Problem)
	default:
		return fmt.Sprintf("%T", m)
	}
}

// read tells what comes, until the connection ends: the library would dial again.
func (a *actor) read() {
	for {
		m, err := a.client.Recv()
		if err != nil {
			a.client.Close()
			a.events <- "closed"
			close(a.events)
			return
		}
		a.events <- a.describe(m)
	}
}

// wait for an event that begins so; what comes before it is returned.
func (a *actor) wait(begin string) (before []string) {
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-a.events:
			if strings.HasPrefix(e, begin) {
				return before
			}
			if !ok {
				fail("%s: closed instead of %q, after %q", a.name, begin, before)
			}
			before = append(before, e)
		case <-deadline:
			fail("%s: no %q, but %q", a.name, begin, before)
		}
	}
}

// take notes the next n events, sorted where the relay may choose their order.
func (a *actor) take(n int) {
	var got []string
	deadline := time.After(patience)
	for len(got) < n {
		select {
		case e, ok := <-a.events:
			if !ok {
				fail("%s: closed after %q", a.name, got)
			}
			got = append(got, e)
		case <-deadline:
			fail("%s: only %q", a.name, got)
		}
	}
	sort.Strings(got)
	for _, e := range got {
		a.w.note("%s: %s", a.name, e)
	}
}

// rest notes what else there is, after a while without.
func (a *actor) rest() {
	var got []string
	for {
		select {
		case e, ok := <-a.events:
			if ok {
				got = append(got, e)
				continue
			}
		case <-time.After(quiet):
		}
		break
	}
	sort.Strings(got)
	a.w.note("%s: then %q", a.name, got)
}

func (a *actor) send(to *actor, data string) { a.sendTo(to.key.Public(), data) }

func (a *actor) sendTo(to key.NodePublic, data string) {
	if err := a.client.Send(to, []byte(data)); err != nil {
		fail("%s cannot send: %v", a.name, err)
	}
}

// settle: what this one sent before has been read by the relay.
func (a *actor) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.client.Ping(ctx); err != nil {
		fail("%s: no pong: %v", a.name, err)
	}
}

func (a *actor) leave() { a.client.Close() }

func disco(n int) string { return "TS💬" + strings.Repeat("x", n-6) }

// nobody is a key that no client has.
func (w *world) nobody() key.NodePublic {
	k := key.NewNode().Public()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[k] = "nobody"
	return k
}

var scenarios = []struct {
	name string
	mesh bool // needs its key
	run  func(w *world)
}{
	{"exchange", false, exchange},
	{"sizes", false, sizes},
	{"ping", false, ping},
	{"nobody", false, unknownDestination},
	{"gone", false, gone},
	{"duplicates", false, duplicates},
	{"not allowed: watch", false, func(w *world) { notAllowed(w, watcher) }},
	{"not allowed: forward", false, forwardNotAllowed},
	{"not allowed: close", false, closeNotAllowed},
	{"wrong mesh key", true, func(w *world) { notAllowed(w, watcher, meshKey(strings.Repeat("ab", 32))) }},
	{"watch", true, watch},
	{"watch duplicates", true, watchDuplicates},
	{"forward", true, forward},
	{"close peer", true, closePeer},
	{"tells its key", false, metaCertificate},
}

func exchange(w *world) {
	a, b := w.join("a"), w.join("b")
	a.client.NotePreferred(true)
	a.send(b, "one")
	b.take(1)
	b.send(a, "two")
	a.take(1)
	for i := range 20 {
		a.send(b, fmt.Sprint("in order ", i))
		b.take(1)
	}
	a.send(a, "to itself")
	a.take(1)
	a.client.NotePreferred(false)
	a.settle()
	a.rest()
	b.rest()
}

func sizes(w *world) {
	a, b := w.join("a"), w.join("b")
	for _, n := range []int{0, 1, 1400, 2047, 2048, 16384, 65535, 65536} {
		a.sendTo(b.key.Public(), strings.Repeat("z", n))
		b.take(1)
	}
}

func ping(w *world) {
	a := w.join("a")
	for i := range 3 {
		if err := a.client.SendPing([8]byte{byte(i), 1, 2, 3, 4, 5, 6, 7}); err != nil {
			fail("ping: %v", err)
		}
		a.take(1)
	}
	a.client.SendPong([8]byte{1})
	a.settle()
	a.rest()
}

func unknownDestination(w *world) {
	a, nobody := w.join("a"), w.nobody()
	a.sendTo(nobody, "no disco message, however long it may be, is answered")
	a.sendTo(nobody, disco(discoMin-1))
	a.settle()
	a.rest()
	a.sendTo(nobody, disco(discoMin))
	a.take(1)
	for range 20 { // bounded: three at once, then one a second
		a.sendTo(nobody, disco(discoMin))
	}
	a.take(2)
	a.settle()
	a.rest()
}

func gone(w *world) {
	a, heard, deaf := w.join("a"), w.join("heard"), w.join("deaf")
	a.send(heard, "hello")
	heard.take(1)
	deaf.send(a, "hello")
	a.take(1)
	heard.settle()
	a.leave()
	heard.take(1)
	deaf.settle()
	deaf.rest()
	heard.sendTo(a.key.Public(), disco(100))
	heard.take(1)
	heard.rest()
}

// The connection that wrote last is the one that packets go to.
func duplicates(w *world) {
	a := w.join("a")
	first := w.join("first")
	second := w.join("second", withKey(first.key))
	to := first.key.Public()
	w.names[to] = "twice"
	a.sendTo(to, "the newer one")
	second.take(1)
	first.settle()
	a.sendTo(to, "the first wrote")
	first.take(1)
	second.send(a, "and the second")
	a.take(1)
	a.sendTo(to, "back to it")
	second.take(1)
	second.leave()
	first.settle()
	first.settle()
	a.sendTo(to, "who is left")
	first.take(1)
	a.rest() // nobody is gone yet
	first.leave()
	a.take(1)
}

func notAllowed(w *world, options ...option) {
	a := w.dial("a", true, options...)
	a.wait("closed")
	w.note("a: closed")
}

func forwardNotAllowed(w *world) {
	a, b := w.join("a"), w.join("b")
	a.client.ForwardPacket(w.nobody(), b.key.Public(), []byte("x"))
	a.take(1)
	b.settle()
	b.rest()
}

func closeNotAllowed(w *world) {
	a, b := w.join("a"), w.join("b")
	a.client.ClosePeer(b.key.Public())
	a.take(1)
	b.settle()
	b.rest()
}

func watch(w *world) {
	w.join("before")
	m := w.join("mesh", meshKey(*mesh), watcher)
	m.take(2)
	a := w.join("a")
	m.take(1)
	w.join("prober", prober)
	m.take(1)
	if *pin != "" {
		w.dial("not ideal", false).wait("server info")
		m.take(1)
	}
	a.leave()
	m.take(1)
	w.join("mesh 2", meshKey(*mesh))
	m.take(1)
	m.settle()
	m.rest()
}

func watchDuplicates(w *world) {
	m := w.join("mesh", meshKey(*mesh), watcher)
	m.take(1)
	first := w.join("first")
	m.take(1)
	second := w.join("second", withKey(first.key))
	m.take(1)
	first.leave()
	second.settle()
	m.settle()
	m.rest()
	second.leave()
	m.take(1)
}

func forward(w *world) {
	m, b, far := w.join("mesh", meshKey(*mesh)), w.join("b"), w.nobody()
	w.names[far] = "far"
	if err := m.client.ForwardPacket(far, b.key.Public(), []byte("from afar")); err != nil {
		fail("forward: %v", err)
	}
	b.take(1)
	m.client.ForwardPacket(far, b.key.Public(), make([]byte, 65536))
	b.take(1)
	unknown := w.nobody()
	m.client.ForwardPacket(far, unknown, []byte("no disco message"))
	m.settle()
	m.rest()
	m.client.ForwardPacket(far, unknown, []byte(disco(100)))
	m.take(1)
	b.sendTo(far, "the relay knows no way back")
	b.settle()
	b.rest()
}

func closePeer(w *world) {
	m, a, b := w.join("mesh", meshKey(*mesh)), w.join("a"), w.join("b")
	twice := w.join("b too", withKey(b.key))
	m.client.ClosePeer(w.nobody())
	m.client.ClosePeer(b.key.Public())
	b.wait("closed")
	twice.wait("closed")
	w.note("both are closed")
	a.settle()
	a.rest()
	m.settle()
	m.rest()
}

// In TLS 1.3 the certificate behind the chain tells the relay's key, and the handshake starts fast.
func metaCertificate(w *world) {
	a := w.join("a")
	state, ok := a.client.TLSConnectionState()
	if !ok {
		w.note("no TLS")
		return
	}
	last := state.PeerCertificates[len(state.PeerCertificates)-1]
	w.note("TLS %x, last certificate: its key %t, serial %v, %v, valid now %t, basic constraints %t", state.Version,
		last.Subject.CommonName == fmt.Sprintf("derpkey%x", raw(a.client.ServerPublicKey())), last.SerialNumber,
		last.PublicKeyAlgorithm, time.Now().After(last.NotBefore) && time.Now().Before(last.NotAfter),
		last.BasicConstraintsValid)
}

func raw(k key.NodePublic) []byte {
	b := k.Raw32()
	return b[:]
}

func run(host, port string, scenario func(w *world)) (seen []string) {
	w := &world{host: host, port: port, names: map[key.NodePublic]string{}}
	defer func() {
		if why := recover(); why != nil {
			told, ok := why.(failure)
			if !ok {
				panic(why)
			}
			w.note("FAILED: %s", told)
		}
		for _, a := range w.actors {
			a.leave()
		}
		seen = w.seen
	}()
	scenario(w)
	return
}

// setUp: as far as the relay's word that the client is in.
func (w *world) setUp() {
	a := &actor{w: w, key: key.NewNode()}
	a.client = w.newClient(a, true)
	defer a.leave()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.client.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	m, err := a.client.Recv()
	if _, ok := m.(derp.ServerInfoMessage); !ok {
		log.Fatalf("%T instead of server info: %v", m, err)
	}
}

func setUpMany(w *world, n int) {
	var left sync.WaitGroup
	turns := make(chan struct{}, 16)
	for range n {
		turns <- struct{}{}
		left.Go(func() {
			w.setUp()
			<-turns
		})
	}
	left.Wait()
}

// stayed is what became of connections that come back when they end; times are Unix seconds.
type stayed struct {
	mu       sync.Mutex
	Up       int       // now
	Closed   []float64 // when one ended
	Failures []string  // of attempts to come back
}

func (s *stayed) note(up int, closed bool, failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Up += up
	if closed {
		s.Closed = append(s.Closed, float64(time.Now().UnixNano())/1e9)
	}
	if failure != "" {
		s.Failures = append(s.Failures, failure)
	}
}

func (s *stayed) hold(c *derphttp.Client) {
	up := false
	for {
		m, err := c.Recv()
		_, isInfo := m.(derp.ServerInfoMessage)
		switch {
		case isInfo:
			up = true
			s.note(1, false, "")
		case err != nil && up:
			up = false
			s.note(-1, true, "")
		case err != nil:
			s.note(0, false, err.Error())
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func stayMany(w *world, n int) {
	s := &stayed{Closed: []float64{}, Failures: []string{}}
	for range n {
		a := &actor{w: w, key: key.NewNode()}
		go s.hold(w.newClient(a, true))
	}
	for up := 0; up < n; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		up = s.Up
		s.mu.Unlock()
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	s.mu.Lock()
	json.NewEncoder(os.Stdout).Encode(s)
	os.Exit(0)
}

func main() {
	flag.Parse()
	host, port, err := net.SplitHostPort(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	if *many > 0 {
		setUpMany(&world{host: host, port: port}, *many)
		return
	}
	if *stay > 0 {
		stayMany(&world{host: host, port: port}, *stay)
	}
	chosen := map[string]bool{}
	for _, name := range strings.Split(*only, ",") {
		chosen[name] = name != ""
	}
	out := map[string][]string{}
	for _, s := range scenarios {
		if (s.mesh && *mesh == "") || (*only != "" && !chosen[s.name]) {
			continue
		}
		out[s.name] = run(host, port, s.run)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	encoder.Encode(out)
}

// SPDX-License-Identifier: Apache-2.0

// `shop CASE 1|2 [SECONDS]` brings its goroutines to a standstill, one way a case, and prints them all as the runtime does,
// that many seconds later: debug=1 or debug=2. `shop CASE wait` prints "ready" instead and stays.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"example.com/shop/store"
	"example.com/shop/web"
)

var silent = make(chan int)

func many(count int, call func()) {
	for i := 0; i < count; i++ {
		go call()
	}
}

var writers []*os.File

// A pipe that nobody writes to. Its other end stays open: the collector would close it.
func deafPipe() *os.File {
	reader, writer, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	writers = append(writers, writer)
	return reader
}

type account struct {
	sync.Mutex
	balance int
}

var alice, bob account
var both sync.WaitGroup

//go:noinline
func transfer(from, to *account) {
	from.Lock()
	both.Done()
	both.Wait()
	to.Lock()
	from.balance--
	to.balance++
	to.Unlock()
	from.Unlock()
}

//go:noinline
func audit(a *account) {
	a.Lock()
	defer a.Unlock()
	a.balance++
}

// Both stand at one call: no stack tells who has which account.
func mutexSame() {
	both.Add(2)
	go transfer(&alice, &bob)
	go transfer(&bob, &alice)
	time.Sleep(50 * time.Millisecond)
	many(12, func() { audit(&bob) })
}

var ordersLock, stockLock sync.Mutex
var orders, stock int

//go:noinline
func placeOrder() {
	ordersLock.Lock()
	defer ordersLock.Unlock()
	orders++
	time.Sleep(20 * time.Millisecond)
	stockLock.Lock()
	defer stockLock.Unlock()
	stock--
}

//go:noinline
func restock() {
	stockLock.Lock()
	defer stockLock.Unlock()
	stock++
	time.Sleep(20 * time.Millisecond)
	ordersLock.Lock()
	defer ordersLock.Unlock()
	orders--
}

func mutexCycle() {
	many(6, placeOrder)
	many(5, restock)
}

var (
	catalogLock sync.Mutex
	catalog     = map[string]string{}
)

//go:noinline
func catalogLoad(file *os.File) {
	catalogLock.Lock()
	defer catalogLock.Unlock()
	text, _ := io.ReadAll(file)
	catalog["x"] = string(text)
}

func mutexQueue() {
	file := deafPipe()
	go catalogLoad(file)
	time.Sleep(50 * time.Millisecond)
	many(15, func() { catalogLoad(file) })
}

var configLock sync.RWMutex

//go:noinline
func configGet() {
	configLock.RLock()
	defer configLock.RUnlock()
	catalog["y"] = ""
}

//go:noinline
func configReload(writerWaits <-chan int) {
	configLock.RLock()
	defer configLock.RUnlock()
	<-writerWaits
	configGet()
}

//go:noinline
func configSet() {
	configLock.Lock()
	defer configLock.Unlock()
	catalog["z"] = ""
}

func rwmutex() {
	writerWaits := make(chan int)
	go configReload(writerWaits)
	time.Sleep(50 * time.Millisecond)
	go configSet()
	time.Sleep(50 * time.Millisecond)
	close(writerWaits)
	many(12, configGet)
}

func poolNested() {
	store.AllTaken.Add(5)
	many(5, func() { web.Orders() })
	time.Sleep(50 * time.Millisecond)
	many(40, func() { web.Customer() })
}

func poolAccessor() {
	many(45, func() { web.Stock(silent) })
	many(20, func() { web.Customers(silent) })
}

func sqlNested() {
	db := store.Open(4)
	store.AllTaken.Add(4)
	many(4, func() { web.OrderNames(db) })
	time.Sleep(50 * time.Millisecond)
	many(30, func() { web.CustomerName(db) })
	many(10, func() { web.NewOrder(db) })
}

func sqlBusy() {
	db := store.Open(4)
	for i := 0; i < 4; i++ {
		store.BeginAndForget(context.Background(), db)
	}
	many(30, func() { web.CustomerName(db) })
}

func sqlOpen() {
	for i := 0; i < 60; i++ {
		db := store.Open(1)
		_ = store.CustomerName(db)
	}
}

func sqlTransactions() {
	db := store.Open(0)
	ctx, _ := context.WithCancel(context.Background())
	for i := 0; i < 60; i++ {
		store.BeginAndForget(ctx, db)
	}
}

//go:noinline
func askBackend(answers chan<- int) {
	time.Sleep(10 * time.Millisecond)
	answers <- 1
}

//go:noinline
func askWithTimeout() {
	answers := make(chan int)
	go askBackend(answers)
	select {
	case <-answers:
	case <-time.After(time.Millisecond):
	}
}

func channelSend() {
	for i := 0; i < 24; i++ {
		askWithTimeout()
	}
}

//go:noinline
func watch(events <-chan int) {
	for range events {
	}
}

func channelReceive() {
	for i := 0; i < 1200; i++ {
		go watch(make(chan int))
	}
}

//go:noinline
func follow(events, stop <-chan int) {
	for {
		select {
		case <-events:
		case <-stop:
			return
		}
	}
}

func selectLeak() {
	for i := 0; i < 1200; i++ {
		go follow(make(chan int), make(chan int))
	}
}

//go:noinline
func ping() {
	<-time.After(time.Hour)
}

func timeAfter() {
	many(1200, ping)
}

//go:noinline
func notify(subscriber chan int) {
	subscriber <- 1
}

//go:noinline
func listen(subscriber chan int) {
	<-subscriber
}

func nilChannel() {
	many(3, func() { notify(nil) })
	many(2, func() { listen(nil) })
}

//go:noinline
func gather(group *sync.WaitGroup) {
	group.Wait()
}

func waitgroup() {
	for i := 0; i < 24; i++ {
		var group sync.WaitGroup
		group.Add(1)
		go gather(&group)
	}
}

//go:noinline
func fetch(client *http.Client, address string) {
	answer, err := client.Get(address)
	if err != nil {
		panic(err)
	}
	_ = answer.Status
}

func serve(handler http.HandlerFunc) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, handler)
	return "http://" + listener.Addr().String()
}

func httpBody() {
	address := serve(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 1<<20))
	})
	for i := 0; i < 60; i++ {
		fetch(http.DefaultClient, address)
	}
}

func httpIdle() {
	address := serve(func(w http.ResponseWriter, r *http.Request) { time.Sleep(50 * time.Millisecond) })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	var group sync.WaitGroup
	for i := 0; i < 60; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			answer, err := client.Get(address)
			if err == nil {
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}()
	}
	group.Wait()
}

func httpTransport() {
	address := serve(func(w http.ResponseWriter, r *http.Request) {})
	for i := 0; i < 60; i++ {
		client := &http.Client{Transport: &http.Transport{}}
		answer, err := client.Get(address)
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}
}

func httpDeaf() {
	address := serve(func(w http.ResponseWriter, r *http.Request) { <-silent })
	many(60, func() { fetch(http.DefaultClient, address) })
}

func httpLimit() {
	address := serve(func(w http.ResponseWriter, r *http.Request) { <-silent })
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 4}}
	many(40, func() { fetch(client, address) })
}

// A server as they are: a listener, tickers, workers on a channel, a few requests under way.
func healthy() {
	jobs := make(chan int)
	serve(func(w http.ResponseWriter, r *http.Request) { jobs <- 1 })
	many(100, func() {
		for range jobs {
		}
	})
	many(4, func() {
		for range time.Tick(time.Second) {
		}
	})
	many(3, func() { web.Customer() })
	both.Add(1)
	go both.Wait()
}

func main() {
	cases := map[string]func(){
		"mutex-cycle": mutexCycle, "mutex-same": mutexSame, "mutex-queue": mutexQueue, "rwmutex": rwmutex, "pool-nested": poolNested,
		"pool-accessor": poolAccessor, "sql-nested": sqlNested, "sql-busy": sqlBusy, "sql-open": sqlOpen,
		"sql-transactions": sqlTransactions, "channel-send": channelSend, "channel-receive": channelReceive,
		"select": selectLeak, "time-after": timeAfter, "nil-channel": nilChannel, "waitgroup": waitgroup,
		"http-body": httpBody, "http-idle": httpIdle, "http-transport": httpTransport, "http-deaf": httpDeaf,
		"http-limit": httpLimit, "healthy": healthy,
	}
	if len(os.Args) < 3 || cases[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "shop CASE 1|2|wait [SECONDS]")
		os.Exit(2)
	}
	cases[os.Args[1]]()
	time.Sleep(300 * time.Millisecond)
	// From here on the runtime counts the minutes of a wait.
	runtime.GC()
	if os.Args[2] == "wait" {
		fmt.Println("ready")
		select {}
	}
	if len(os.Args) == 4 {
		seconds, _ := strconv.Atoi(os.Args[3])
		time.Sleep(time.Duration(seconds) * time.Second)
	}
	pprof.Lookup("goroutine").WriteTo(os.Stdout, int(os.Args[2][0]-'0'))
}

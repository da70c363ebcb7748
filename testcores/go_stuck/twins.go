// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Signals as main does, for where main waits.
func dump() {
	settle()
	runtime.GC()
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
}

//go:noinline
func worker(jobs <-chan int, all *sync.WaitGroup) {
	defer all.Done()
	for job := range jobs {
		time.Sleep(time.Duration(job))
	}
}

// Idle is a pool that its owner, who sleeps, will still use.
func idlePool() {
	jobs, all := make(chan int), new(sync.WaitGroup)
	for i := 0; i < 20; i++ {
		all.Add(1)
		go worker(jobs, all)
	}
	go func() {
		time.Sleep(time.Hour)
		close(jobs)
		all.Wait()
	}()
}

// Topic has subscribers who wait for the next message.
type Topic struct {
	lock        sync.Mutex
	changed     *sync.Cond
	subscribers map[int]chan string
}

var topic = &Topic{subscribers: map[int]chan string{}}

func subscribers() {
	topic.changed = sync.NewCond(&topic.lock)
	for i := 0; i < 30; i++ {
		news := make(chan string, 1)
		topic.subscribers[i] = news
		go func() {
			for range news {
			}
		}()
		go func() {
			topic.lock.Lock()
			topic.changed.Wait()
			topic.lock.Unlock()
		}()
	}
}

// A server with idle connections, whose clients keep them alive.
func server(connections int) {
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listening, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) { io.WriteString(answer, "hello") }))
	for i := 0; i < connections; i++ {
		connection, err := net.Dial("tcp", listening.Addr().String())
		if err != nil {
			panic(err)
		}
		io.WriteString(connection, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		connection.Read(make([]byte, 512))
		clients = append(clients, connection)
	}
}

var clients []net.Conn

func tickers() {
	for i := 0; i < 5; i++ {
		go func() {
			ticker := time.NewTicker(time.Hour)
			defer ticker.Stop()
			for range ticker.C {
			}
		}()
		go func() { <-time.After(time.Hour) }()
	}
}

// A group of tasks as errgroup has it: some sleep, some wait for a place, one waits for all.
func group() {
	ctx, cancel := context.WithCancel(context.Background())
	places := make(chan struct{}, 3)
	var all sync.WaitGroup
	for i := 0; i < 9; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-places }()
			time.Sleep(time.Hour)
		}()
	}
	go func() {
		all.Wait()
		cancel()
	}()
}

// Contexts below one that ends in an hour, and below one that a variable keeps.
var root, endRoot = context.WithCancel(context.Background())

func trees() {
	for i := 0; i < 5; i++ {
		branch, cancel := context.WithCancel(root)
		leaf, cancelLeaf := context.WithTimeout(branch, time.Hour)
		late, cancelLate := context.WithTimeout(context.Background(), time.Hour)
		_, _, _ = cancel, cancelLeaf, cancelLate
		for _, ctx := range []context.Context{branch, leaf, late} {
			go func(ctx context.Context) { <-ctx.Done() }(ctx)
		}
	}
}

// Kept is held by a finalizer alone, which would wake who waits.
type Kept struct {
	end chan struct{}
	_   [64]byte
}

//go:noinline
func finalizers() {
	for i := 0; i < 3; i++ {
		kept := &Kept{end: make(chan struct{})}
		runtime.SetFinalizer(kept, func(kept *Kept) { close(kept.end) })
		go func(end chan struct{}) { <-end }(kept.end)
		defer runtime.KeepAlive(kept)
	}
	time.AfterFunc(time.Hour, func() { endRoot() })
}

//go:noinline
func pass(from <-chan int, to chan<- int) { to <- <-from }

// Each waits for the one before, and the first of them sleeps.
func chain() {
	first := make(chan int)
	go func() {
		time.Sleep(time.Hour)
		first <- 1
	}()
	from := first
	for i := 0; i < 50; i++ {
		to := make(chan int)
		go pass(from, to)
		from = to
	}
	go consume(from)
}

//go:noinline
func consume(from <-chan int) { <-from }

func twins() {
	idlePool()
	subscribers()
	server(200)
	tickers()
	group()
	trees()
	finalizers()
	chain()
}

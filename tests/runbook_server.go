// SPDX-License-Identifier: Apache-2.0

// A Go server in trouble, for the commands of the runbook pages: prints its address, then "ready", and stays. net/http/pprof
// answers at that address.
//
//	runbook_server leak      more and more goroutines send to channels that nobody receives from
//	runbook_server body      a client that closes no response body
//	runbook_server shutdown  SIGTERM is caught, and the shutdown waits for workers that never end
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

type quote struct{ answer chan int }

//go:noinline
func (q *quote) fetch() { q.answer <- 1 }

func leak(count int) {
	for i := 0; i < count; i++ {
		go (&quote{make(chan int)}).fetch()
	}
}

func leakOn() {
	leak(1200)
	for {
		time.Sleep(20 * time.Millisecond)
		leak(1)
	}
}

func fetchBodies(address string) {
	for i := 0; i < 60; i++ {
		if _, err := http.Get("http://" + address + "/large"); err != nil {
			panic(err)
		}
	}
}

var workers sync.WaitGroup

//go:noinline
func shutdown() {
	workers.Wait()
	os.Exit(0)
}

func waitForEnd(jobs chan int) {
	for i := 0; i < 20; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			<-jobs
		}()
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	shutdown()
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1<<20)) })
	go http.Serve(listener, nil)
	switch os.Args[1] {
	case "leak":
		go leakOn()
	case "body":
		fetchBodies(listener.Addr().String())
	case "shutdown":
		go waitForEnd(make(chan int))
	}
	time.Sleep(200 * time.Millisecond)
	if os.Args[1] == "shutdown" {
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("%s\nready\n", listener.Addr())
	select {}
}

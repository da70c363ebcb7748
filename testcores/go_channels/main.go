// SPDX-License-Identifier: Apache-2.0

// Goroutines at channels whose other side has gone, or is only slow. Then a SIGQUIT.
//
//	go_channels FOLDER CASE
package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

const members = 1200

// Feed has a channel that all know.
type Feed struct {
	events chan int
	done   chan struct{}
}

var feed = &Feed{events: make(chan int, 8), done: make(chan struct{})}

//go:noinline
func publish(events chan<- int, event int) { events <- event }

//go:noinline
func consume(events <-chan int) (sum int) {
	for event := range events {
		sum += event
	}
	return sum
}

// The slow side: it has the channel on its stack.
//
//go:noinline
func drain(events <-chan int) (sum int) {
	time.Sleep(time.Hour)
	return <-events
}

//go:noinline
func answer(result chan<- int) { result <- 1 }

// Asks several and takes no answer: the channel is forgotten on return.
//
//go:noinline
func ask(count int) {
	result := make(chan int)
	for i := 0; i < count; i++ {
		go answer(result)
	}
}

//go:noinline
func subscribe(count int) {
	events := make(chan int)
	for i := 0; i < count; i++ {
		go consume(events)
	}
}

// What was left over of frames that have returned is used anew.
//
//go:noinline
func overwrite(depth int) (sum int) {
	var words [64]int
	for i := range words {
		words[i] = depth + i
	}
	if depth > 0 {
		sum = overwrite(depth - 1)
	}
	return sum + words[depth%64]
}

var cases = map[string]func(){
	"full": func() {
		for i := 0; i < members; i++ {
			go publish(feed.events, i)
		}
	},
	"slow": func() {
		events := make(chan int, 8)
		go drain(events)
		for i := 0; i < members; i++ {
			go publish(events, i)
		}
	},
	"forgotten": func() {
		for i := 0; i < 3; i++ {
			ask(4)
		}
		subscribe(5)
	},
	"known": func() {
		go func() {
			events := make(chan int)
			for i := 0; i < 5; i++ {
				go consume(events)
			}
			time.Sleep(time.Hour)
			events <- 1
		}()
		for i := 0; i < 5; i++ {
			go func() { <-feed.done }()
		}
		for i := 0; i < 5; i++ {
			go func() { <-time.After(time.Hour) }()
		}
	},
}

func main() {
	cases[os.Args[2]]()
	overwrite(1000)
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	if os.Getenv("GOROUTINES_END") == "wait" {
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}

// SPDX-License-Identifier: Apache-2.0

// Pools of several kinds, used up by their users or only busy. Then a SIGQUIT.
//
//	go_pools FOLDER CASE
package main

import (
	"os"
	"sync"
	"syscall"
	"time"

	"example.com/depot/lend"
	"example.com/depot/store"
)

const size, victims = 6, 40

var parts = &store.Parts{Name: "parts", Holding: func() {}}

// Whoever holds waits for all others that do.
func holdTogether(count int) {
	var all sync.WaitGroup
	all.Add(count)
	parts.Holding = func() {
		all.Done()
		all.Wait()
	}
}

// Never ends what others work at; a variable, so that it could.
var never = make(chan struct{})

// Whoever holds works for ever.
func holdForEver() (held *sync.WaitGroup) {
	held = new(sync.WaitGroup)
	held.Add(size)
	parts.Holding = func() {
		held.Done()
		<-never
	}
	return held
}

func start[T any](count int, work func() T) {
	for i := 0; i < count; i++ {
		go func() { work() }()
	}
}

// Those that have come back.
func finish[T any](count int, work func() T) {
	var all sync.WaitGroup
	all.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			defer all.Done()
			work()
		}()
	}
	all.Wait()
}

var cases = map[string]func(){
	"lines": func() {
		holdTogether(size)
		start(size, parts.Lines)
		time.Sleep(200 * time.Millisecond)
		start(victims, parts.Line)
	},
	"interface": func() {
		parts.Source = parts.Deep.Lines
		holdTogether(size)
		start(size, parts.LinesOf)
		time.Sleep(200 * time.Millisecond)
		parts.Holding = func() {}
		start(victims, parts.LinesOf)
	},
	"lines-busy": func() {
		held := holdForEver()
		start(size, parts.LineKept)
		held.Wait()
		start(victims, parts.Line)
	},
	"lines-apart": func() {
		// They wait for their second one, and hold none.
		var all sync.WaitGroup
		for i := 0; i < victims; i++ {
			all.Add(1)
			go func() { all.Done(); parts.LinesApart() }()
		}
		all.Wait()
		held := holdForEver()
		start(size, parts.LineKept)
		held.Wait()
		start(victims, parts.LinesApart)
		start(victims, parts.Line)
	},
	"two-pools": func() {
		// All hosts are held by those who wait for a line, and all lines by those who work.
		held := holdForEver()
		start(size, parts.LineKept)
		held.Wait()
		parts.Holding = func() {}
		start(size, parts.LineOfHost)
		start(victims, parts.Line)
	},
	"conns": func() {
		holdTogether(size)
		start(size, parts.Conns)
		time.Sleep(200 * time.Millisecond)
		start(victims, parts.Conn)
	},
	"sql": func() {
		holdTogether(size)
		start(size/2, parts.Orders)
		start(size/2, parts.Book)
		time.Sleep(200 * time.Millisecond)
		start(victims, parts.Customer)
	},
	"sql-busy": func() {
		held := holdForEver()
		start(size, parts.BookKept)
		held.Wait()
		start(victims, parts.Customer)
		start(victims, parts.BookApart)
	},
	"sql-dropped": func() {
		finish(size, parts.Names)
		start(victims, parts.Customer)
	},
	"sql-dropped-some": func() {
		finish(size-2, parts.Names)
		finish(2, parts.Cursors)
		start(victims, parts.Customer)
	},
	"sql-kept": func() {
		finish(size, parts.Cursors)
		start(victims, parts.Customer)
	},
	"sql-some": func() {
		// One holds a connection and waits for another; those who have the rest work.
		held := holdForEver()
		start(size-1, parts.BookKept)
		for held.Done(); ; time.Sleep(time.Millisecond) {
			if parts.Deep.Data.Stats().InUse == size-1 {
				break
			}
		}
		parts.Holding = func() {}
		start(victims, parts.Book)
		start(victims, parts.Customer)
	},
}

func main() {
	parts.Deep.Lines = lend.New(size, func() int { return 1 })
	parts.Deep.Hosts = lend.New(size, func() string { return "host" })
	parts.Deep.Conns = lend.NewConnPool(size)
	parts.Deep.Data = store.Open(size)
	cases[os.Args[2]]()
	time.Sleep(300 * time.Millisecond)
	if os.Getenv("GOROUTINES_END") == "wait" {
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}

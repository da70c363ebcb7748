// SPDX-License-Identifier: Apache-2.0

// Goroutines that wait for each other's locks, or only queue for one. Then a SIGQUIT.
//
//	go_locks FOLDER CASE
package main

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// Account is one of many objects with a lock of its own.
type Account struct {
	name    string
	balance int
	mutex   sync.Mutex
}

// Registry is read by many.
type Registry struct {
	names map[string]int
	lock  sync.RWMutex
}

var (
	first, second sync.Mutex
	met           sync.WaitGroup
)

// Meets whoever else is about to take his second lock.
func meet() {
	met.Done()
	met.Wait()
}

//go:noinline
func transfer(from, to *Account) {
	from.mutex.Lock()
	defer from.mutex.Unlock()
	meet()
	to.mutex.Lock()
	defer to.mutex.Unlock()
	from.balance--
	to.balance++
}

//go:noinline
func (a *Account) Total() int {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.balance
}

//go:noinline
func (a *Account) Audit() int {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.balance + a.Total()
}

// Audited locks in a loop, where defers are kept in a list.
//
//go:noinline
func audited(accounts ...*Account) (sum int) {
	for _, account := range accounts {
		account.mutex.Lock()
		defer account.mutex.Unlock()
	}
	meet()
	return accounts[0].Total()
}

//go:noinline
func forward() {
	first.Lock()
	meet()
	second.Lock()
	second.Unlock()
	first.Unlock()
}

//go:noinline
func backward() {
	second.Lock()
	meet()
	first.Lock()
	first.Unlock()
	second.Unlock()
}

// Move gives nothing to defer, and its lock is not in its own frame but among the arguments that it got.
//
//go:noinline
func (a *Account) Move(to *Account) int {
	a.mutex.Lock()
	meet()
	sum := to.moved(a)
	a.mutex.Unlock()
	return sum
}

//go:noinline
func (a *Account) moved(from *Account) int {
	a.mutex.Lock()
	sum := a.balance + from.balance
	a.mutex.Unlock()
	return sum
}

//go:noinline
func (r *Registry) Size() int {
	r.lock.RLock()
	defer r.lock.RUnlock()
	return len(r.names)
}

//go:noinline
func (r *Registry) Add(name string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.names[name] = len(r.names)
}

// Report reads, and reads again while a writer has come.
//
//go:noinline
func (r *Registry) Report(between func()) int {
	r.lock.RLock()
	defer r.lock.RUnlock()
	between()
	return r.Size()
}

// Grow wants to write what it reads.
//
//go:noinline
func (r *Registry) Grow() {
	r.lock.RLock()
	defer r.lock.RUnlock()
	r.Add("x")
}

//go:noinline
func (a *Account) Slow() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	time.Sleep(time.Hour)
}

//go:noinline
func (a *Account) Apart(other *Account) int {
	a.mutex.Lock()
	a.balance++
	a.mutex.Unlock()
	return other.Total()
}

func wait() { time.Sleep(200 * time.Millisecond) }

var cases = map[string]func(){
	"self": func() {
		account := &Account{name: "a"}
		go account.Audit()
		wait()
		for i := 0; i < 3; i++ {
			go account.Total()
		}
	},
	"two": func() {
		a, b := &Account{name: "a"}, &Account{name: "b"}
		met.Add(2)
		go transfer(a, b)
		go transfer(b, a)
		wait()
		for i := 0; i < 4; i++ {
			go a.Total()
		}
	},
	"three": func() {
		accounts := []*Account{{name: "a"}, {name: "b"}, {name: "c"}}
		met.Add(3)
		for i := range accounts {
			go transfer(accounts[i], accounts[(i+1)%3])
		}
	},
	"list": func() {
		met.Add(1)
		go audited(&Account{name: "a"}, &Account{name: "b"})
	},
	"globals": func() {
		met.Add(2)
		go forward()
		go backward()
	},
	"explicit": func() {
		a, b := &Account{name: "a"}, &Account{name: "b"}
		met.Add(2)
		go a.Move(b)
		go b.Move(a)
	},
	"upgrade": func() {
		go (&Registry{names: map[string]int{}}).Grow()
	},
	"reread": func() {
		registry := &Registry{names: map[string]int{}}
		go registry.Report(func() {
			go registry.Add("y")
			wait()
		})
	},
	"busy": func() {
		a, b := &Account{name: "a"}, &Account{name: "b"}
		go a.Slow()
		go b.Slow()
		wait()
		for i := 0; i < 5; i++ {
			go a.Total()
			go b.Total()
		}
	},
	"apart": func() {
		// Each has let go of its own lock before it asks for the other's.
		a, b, c := &Account{name: "a"}, &Account{name: "b"}, &Account{name: "c"}
		go c.Slow()
		wait()
		go a.Apart(c)
		go b.Apart(c)
		wait()
		go a.Slow()
		go b.Slow()
		wait()
		go c.Apart(a)
		go b.Apart(a)
		go a.Apart(b)
	},
}

func main() {
	cases[os.Args[2]]()
	wait()
	wait()
	if os.Getenv("GOROUTINES_END") == "wait" {
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}

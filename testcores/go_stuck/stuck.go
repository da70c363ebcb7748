// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync"
)

var cases = map[string]func(){
	"done":      done,
	"results":   results,
	"jobs":      jobs,
	"contexts":  contexts,
	"signal":    lostSignal,
	"unlocked":  unlocked,
	"twins":     twins,
	"main-wait": mainWait,
}

var errBad = errors.New("bad")

// Every third part ends early, without Done.
//
//go:noinline
func part(parts *sync.WaitGroup, number int) error {
	if number%3 == 0 {
		return errBad
	}
	parts.Done()
	return nil
}

//go:noinline
func request(count int) {
	parts := new(sync.WaitGroup)
	parts.Add(count)
	for i := 0; i < count; i++ {
		go part(parts, i)
	}
	parts.Wait()
}

// Requests whose parts have ended.
func done() {
	for i := 0; i < 4; i++ {
		go request(6)
	}
}

//go:noinline
func square(number int, squares chan<- int, all *sync.WaitGroup) {
	defer all.Done()
	squares <- number * number
}

// Waits for all before it takes the first result.
//
//go:noinline
func collect(count int) (sum int) {
	var all sync.WaitGroup
	squares := make(chan int)
	for i := 0; i < count; i++ {
		all.Add(1)
		go square(i, squares, &all)
	}
	all.Wait()
	close(squares)
	for square := range squares {
		sum += square
	}
	return sum
}

func results() {
	go collect(7)
}

// Line has two queues.
type Line struct {
	jobs, finished chan int
}

//go:noinline
func (line *Line) work() {
	for {
		line.finished <- <-line.jobs + 1
	}
}

//go:noinline
func (line *Line) feed(number int) {
	line.jobs <- number
}

// Those who feed it would take what is finished afterwards.
func jobs() {
	line := &Line{make(chan int, 3), make(chan int, 2)}
	for i := 0; i < 4; i++ {
		go line.work()
	}
	for i := 0; i < 40; i++ {
		go line.feed(i)
	}
}

//go:noinline
func watch(ctx context.Context, news <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}

// Nobody keeps what would end them.
//
//go:noinline
func contexts() {
	for i := 0; i < 9; i++ {
		ctx, cancel := context.WithCancel(context.Background())
		go watch(ctx, make(chan string))
		_ = cancel
	}
}

// Gate is opened by Signal, to one.
type Gate struct {
	lock    sync.Mutex
	changed *sync.Cond
	open    bool
}

//go:noinline
func (gate *Gate) pass() {
	gate.lock.Lock()
	for !gate.open {
		gate.changed.Wait()
	}
	gate.lock.Unlock()
}

func lostSignal() {
	gate := &Gate{}
	gate.changed = sync.NewCond(&gate.lock)
	for i := 0; i < 16; i++ {
		go gate.pass()
	}
	gate.changed.Signal()
}

// Account is left locked where there is too little on it.
type Account struct {
	lock   sync.Mutex
	amount int
}

//go:noinline
func (account *Account) take(amount int) error {
	account.lock.Lock()
	if account.amount < amount {
		return errBad
	}
	account.amount -= amount
	account.lock.Unlock()
	return nil
}

func unlocked() {
	account := &Account{amount: 5}
	for i := 0; i < 12; i++ {
		go account.take(10)
	}
}

// How programs keep from ending.
func mainWait() {
	go func() {
		for range make(chan int) {
		}
	}()
	go func() {
		overwrite(1000)
		dump()
	}()
	var end sync.WaitGroup
	end.Add(1)
	end.Wait()
}

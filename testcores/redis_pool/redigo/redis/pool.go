// SPDX-License-Identifier: Apache-2.0

// Package redis stands in for the client of that name: a pool with the same import path, method names and way to wait, and no
// Redis behind it.
package redis

import "sync"

// Pool lends at most MaxActive connections; with Wait, Get blocks until one is given back.
type Pool struct {
	MaxActive int
	Wait      bool

	mutex  sync.Mutex
	tokens chan struct{}
	active int
}

// Conn is one connection of a pool.
type Conn struct{ pool *Pool }

//go:noinline
func (p *Pool) Get() *Conn {
	p.get()
	return &Conn{p}
}

//go:noinline
func (p *Pool) get() {
	p.mutex.Lock()
	if p.tokens == nil {
		p.tokens = make(chan struct{}, p.MaxActive)
		for i := 0; i < p.MaxActive; i++ {
			p.tokens <- struct{}{}
		}
	}
	p.mutex.Unlock()
	if p.Wait {
		<-p.tokens
	}
	p.mutex.Lock()
	p.active++
	p.mutex.Unlock()
}

// Close gives the connection back.
func (c *Conn) Close() {
	c.pool.mutex.Lock()
	c.pool.active--
	c.pool.mutex.Unlock()
	c.pool.tokens <- struct{}{}
}

// Do is a command to the server.
//
//go:noinline
func (c *Conn) Do(command string) int { return len(command) }

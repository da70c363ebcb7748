// SPDX-License-Identifier: Apache-2.0

// Package lend has pools of several kinds, as programs write them.
package lend

import "sync"

// Pool lends what is in a channel.
type Pool[T any] struct {
	free chan *Loan[T]
}

// Loan is one thing that is lent.
type Loan[T any] struct {
	Value T
	pool  *Pool[T]
}

func New[T any](count int, make_ func() T) *Pool[T] {
	pool := &Pool[T]{free: make(chan *Loan[T], count)}
	for i := 0; i < count; i++ {
		pool.free <- &Loan[T]{make_(), pool}
	}
	return pool
}

//go:noinline
func (p *Pool[T]) Acquire() *Loan[T] { return <-p.free }

//go:noinline
func (l *Loan[T]) Release() { l.pool.free <- l }

// ConnPool lends numbers, its waiters wait for a condition.
type ConnPool struct {
	mutex    sync.Mutex
	returned *sync.Cond
	limit    int
	lent     int
}

// Slot is one number that is lent.
type Slot struct {
	from   *ConnPool
	number int
}

func NewConnPool(limit int) *ConnPool {
	p := &ConnPool{limit: limit}
	p.returned = sync.NewCond(&p.mutex)
	return p
}

//go:noinline
func (p *ConnPool) GetConn() *Slot {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for p.lent == p.limit {
		p.returned.Wait()
	}
	p.lent++
	return &Slot{p, p.lent}
}

//go:noinline
func (s *Slot) Close() {
	s.from.mutex.Lock()
	s.from.lent--
	s.from.mutex.Unlock()
	s.from.returned.Signal()
}

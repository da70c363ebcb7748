// SPDX-License-Identifier: Apache-2.0

// Package store has the program's calls of its pools.
package store

import (
	"database/sql"
	"sync"

	"example.com/depot/lend"
)

// Source is a pool that a function knows by an interface.
type Source interface{ Acquire() *lend.Loan[int] }

// Parts is a service whose pools lie inside of its parts.
type Parts struct {
	Name string
	Deep struct {
		Number int
		Lines  *lend.Pool[int]
		Hosts  *lend.Pool[string]
		Conns  *lend.ConnPool
		Data   *sql.DB
	}
	Source Source
	// While something is held.
	Holding func()
	lock    sync.Mutex
	Open    []*sql.Rows
}

//go:noinline
func (p *Parts) Line() int {
	loan := p.Deep.Lines.Acquire()
	defer loan.Release()
	return loan.Value
}

//go:noinline
func (p *Parts) Lines() int {
	loan := p.Deep.Lines.Acquire()
	defer loan.Release()
	p.Holding()
	return loan.Value + p.Line()
}

//go:noinline
func (p *Parts) hold() { p.Holding() }

//go:noinline
func (p *Parts) LineOf() int {
	loan := p.Source.Acquire()
	defer loan.Release()
	return loan.Value
}

// LinesOf has no call of the pool in its code: it is seen to take one by others that wait where it did.
//
//go:noinline
func (p *Parts) LinesOf() int {
	loan := p.Source.Acquire()
	defer loan.Release()
	p.hold()
	return loan.Value + p.LineOf()
}

// LinesApart gives the first one back before it takes another.
//
//go:noinline
func (p *Parts) LinesApart() int {
	loan := p.Deep.Lines.Acquire()
	value := loan.Value
	loan.Release()
	return value + p.Line()
}

// LineOfHost holds one of each pool: no harm.
//
//go:noinline
func (p *Parts) LineOfHost() int {
	host := p.Deep.Hosts.Acquire()
	defer host.Release()
	p.Holding()
	return len(host.Value) + p.Line()
}

// LineKept holds one and works.
//
//go:noinline
func (p *Parts) LineKept() int {
	loan := p.Deep.Lines.Acquire()
	defer loan.Release()
	p.Holding()
	return loan.Value
}

//go:noinline
func (p *Parts) Conn() int {
	slot := p.Deep.Conns.GetConn()
	defer slot.Close()
	return 1
}

//go:noinline
func (p *Parts) Conns() int {
	slot := p.Deep.Conns.GetConn()
	defer slot.Close()
	p.Holding()
	return 1 + p.Conn()
}

//go:noinline
func (p *Parts) Customer() (name string) {
	p.Deep.Data.QueryRow("SELECT name").Scan(&name)
	return name
}

// Names looks at the first one and forgets the rest.
//
//go:noinline
func (p *Parts) Names() (name string) {
	rows, err := p.Deep.Data.Query("SELECT name")
	if err != nil {
		panic(err)
	}
	if rows.Next() {
		rows.Scan(&name)
	}
	return name
}

// Cursors keeps them for later.
//
//go:noinline
func (p *Parts) Cursors() int {
	rows, err := p.Deep.Data.Query("SELECT name")
	if err != nil {
		panic(err)
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	p.Open = append(p.Open, rows)
	return len(p.Open)
}

//go:noinline
func (p *Parts) Orders() (names []string) {
	rows, err := p.Deep.Data.Query("SELECT id")
	if err != nil {
		return nil
	}
	defer rows.Close()
	p.Holding()
	for rows.Next() {
		names = append(names, p.Customer())
	}
	return names
}

//go:noinline
func (p *Parts) Book() error {
	tx, err := p.Deep.Data.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	p.Holding()
	if p.Customer() == "" {
		return nil
	}
	return tx.Commit()
}

// BookApart has ended its transaction before it asks again.
//
//go:noinline
func (p *Parts) BookApart() string {
	tx, err := p.Deep.Data.Begin()
	if err != nil {
		return ""
	}
	if tx.Commit() != nil {
		return ""
	}
	return p.Customer()
}

// BookKept works inside of its transaction.
//
//go:noinline
func (p *Parts) BookKept() error {
	tx, err := p.Deep.Data.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	p.Holding()
	return tx.Commit()
}

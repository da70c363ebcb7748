// SPDX-License-Identifier: Apache-2.0

// Package store is the data layer: a pool of its own, database/sql with a driver that answers nothing, and functions
// that take connections of them.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"time"
)

// ConnPool is a pool as people write them: a channel of what is free.
type ConnPool struct {
	free chan int
}

func NewConnPool(size int) *ConnPool {
	pool := &ConnPool{free: make(chan int, size)}
	for i := 0; i < size; i++ {
		pool.free <- i
	}
	return pool
}

//go:noinline
func (p *ConnPool) Acquire() int {
	return <-p.free
}

func (p *ConnPool) Release(conn int) {
	p.free <- conn
}

var Pool = NewConnPool(5)

// AllTaken lets the nested ones start their second acquisition together.
var AllTaken sync.WaitGroup

//go:noinline
func FindCustomer() {
	conn := Pool.Acquire()
	defer Pool.Release(conn)
	time.Sleep(time.Millisecond)
}

// ListOrders asks for a second connection while it has one.
//
//go:noinline
func ListOrders() {
	conn := Pool.Acquire()
	defer Pool.Release(conn)
	AllTaken.Done()
	AllTaken.Wait()
	FindCustomer()
}

// conn is the layer's one way to a connection.
//
//go:noinline
func conn() int {
	return Pool.Acquire()
}

//go:noinline
func CountStock(silent <-chan int) {
	taken := conn()
	<-silent
	Pool.Release(taken)
}

//go:noinline
func CountCustomers(silent <-chan int) {
	taken := conn()
	<-silent
	Pool.Release(taken)
}

type fakeDriver struct{}
type fakeConn struct{}
type fakeRows struct{}
type fakeTx struct{}

func (fakeDriver) Open(string) (driver.Conn, error)  { return fakeConn{}, nil }
func (fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not here") }
func (fakeConn) Close() error                        { return nil }
func (fakeConn) Begin() (driver.Tx, error)           { return fakeTx{}, nil }
func (fakeTx) Commit() error                         { return nil }
func (fakeTx) Rollback() error                       { return nil }
func (fakeRows) Columns() []string                   { return []string{"id"} }
func (fakeRows) Close() error                        { return nil }
func (fakeRows) Next(values []driver.Value) error    { values[0] = int64(1); return nil }
func (fakeConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return fakeRows{}, nil
}

func init() {
	sql.Register("fake", fakeDriver{})
}

func Open(limit int) *sql.DB {
	db, err := sql.Open("fake", "")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(limit)
	return db
}

//go:noinline
func CustomerName(db *sql.DB) error {
	rows, err := db.Query("select name")
	if err != nil {
		return err
	}
	return rows.Close()
}

// OrderNames runs a query for every row of another that is still open.
//
//go:noinline
func OrderNames(db *sql.DB) error {
	rows, err := db.Query("select id")
	if err != nil {
		return err
	}
	defer rows.Close()
	AllTaken.Done()
	AllTaken.Wait()
	for rows.Next() {
		if err := CustomerName(db); err != nil {
			return err
		}
	}
	return rows.Err()
}

//go:noinline
func BeginOrder(db *sql.DB) (*sql.Tx, error) {
	return db.BeginTx(context.TODO(), nil)
}

// BeginAndForget leaves a transaction behind.
//
//go:noinline
func BeginAndForget(ctx context.Context, db *sql.DB) {
	if _, err := db.BeginTx(ctx, nil); err != nil {
		panic(err)
	}
}

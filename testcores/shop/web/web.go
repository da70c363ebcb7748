// SPDX-License-Identifier: Apache-2.0

// Package web is what calls the data layer.
package web

import (
	"database/sql"

	"example.com/shop/store"
)

//go:noinline
func Orders() { store.ListOrders() }

//go:noinline
func Customer() { store.FindCustomer() }

//go:noinline
func Stock(silent <-chan int) { store.CountStock(silent) }

//go:noinline
func Customers(silent <-chan int) { store.CountCustomers(silent) }

//go:noinline
func OrderNames(db *sql.DB) { _ = store.OrderNames(db) }

//go:noinline
func CustomerName(db *sql.DB) { _ = store.CustomerName(db) }

//go:noinline
func NewOrder(db *sql.DB) { _, _ = store.BeginOrder(db) }

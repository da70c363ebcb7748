// SPDX-License-Identifier: Apache-2.0

// Package engine serves clients.
package engine

import "foo/tool"

// Client is one connected user.
type Client struct{ pending int }

//go:noinline
func (c *Client) UnAckMessageLoop() { c.pending += tool.MessageList(5) }

//go:noinline
func (c *Client) Reader() { c.pending += tool.OnlineUpdate() }

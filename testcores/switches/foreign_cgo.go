// SPDX-License-Identifier: Apache-2.0

package main

// static int answer(void) { return 42; }
import "C"

func callC() { sink += int64(C.answer()) }

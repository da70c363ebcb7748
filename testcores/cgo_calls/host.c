// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// A C program that has cgo_calls as a library, opened at run time: host LIBRARY
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    void *library = count > 1 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    void (*start)(void) = library == NULL ? NULL : (void (*)(void))dlsym(library, "CgoCallsStart");
    if (start == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    start();
    kill(getpid(), SIGQUIT);
    pause();
    return 0;
}

module printed

go 1.18

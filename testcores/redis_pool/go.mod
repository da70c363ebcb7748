module foo

go 1.18

require github.com/gomodule/redigo v1.0.0

replace github.com/gomodule/redigo => ./redigo

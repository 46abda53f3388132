module github.com/pndaproject/deployment-manager/deploy/bench

go 1.26.0

require github.com/pndaproject/deployment-manager v0.0.0

require (
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/pndaproject/deployment-manager => ../..

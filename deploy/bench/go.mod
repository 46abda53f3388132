module github.com/pndaproject/deployment-manager/deploy/bench

go 1.26.0

require (
	github.com/pndaproject/deployment-manager v0.0.0
	github.com/sosedoff/gitkit v0.4.0
)

require (
	github.com/gofrs/uuid v4.0.0+incompatible // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/pndaproject/deployment-manager => ../..

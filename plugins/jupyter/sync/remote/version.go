package remote

import "encoding/hex"

// Blob is git's name of a content: the SHA-1 of a blob object. The zero blob
// stands for none.
type Blob [20]byte

func (b Blob) String() string { return hex.EncodeToString(b[:]) }

// ParseBlob reads 40 hexadecimal digits.
func ParseBlob(text string) (b Blob, ok bool) {
	n, err := hex.Decode(b[:], []byte(text))
	return b, err == nil && n == len(b)
}

// Version is a file as the server has it, or had it. The zero version stands
// for none.
type Version struct {
	Blob Blob
	Exec bool // a program
}

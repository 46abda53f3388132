package events

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// An event is kept as one string, because there are many: its time and the two
// object names as bytes, then its texts, with a zero byte between them. Texts of
// the record hold none; an id that can't name a package may.
const (
	nameBytes  = 20
	headBytes  = 8 + 2*nameBytes + 1
	textFields = 13
)

func pack(e dm.Event) string {
	head := make([]byte, headBytes)
	binary.BigEndian.PutUint64(head, uint64(e.Time.UnixNano()))
	packName(head[8:], e.Old)
	packName(head[8+nameBytes:], e.New)
	if e.Again {
		head[headBytes-1] = 1
	}
	clean := strings.NewReplacer("\x00", " ")
	return string(head) + strings.Join([]string{
		e.Kind, clean.Replace(e.ID), string(e.State), string(e.Verb), string(e.User), e.Auth, e.Via, string(e.Impersonator), e.RequestID,
		string(e.Owner), e.Ref, e.Reason, clean.Replace(e.Information),
	}, "\x00")
}

func unpack(seq uint64, data string) dm.Event {
	head, f := data[:headBytes], strings.SplitN(data[headBytes:], "\x00", textFields)
	return dm.Event{
		Kind: f[0], ID: f[1], State: dm.Phase(f[2]), Ref: f[10], Owner: dm.UserName(f[9]), Information: f[12],
		Stamp: dm.Stamp{
			Verb: dm.Verb(f[3]), User: dm.UserName(f[4]), Auth: f[5], Via: f[6], Impersonator: dm.UserName(f[7]), RequestID: f[8], Reason: f[11], Seq: seq,
			Time: time.Unix(0, int64(binary.BigEndian.Uint64([]byte(head[:8])))).UTC(),
		},
		Old: unpackName(head[8:]), New: unpackName(head[8+nameBytes:]), Again: head[headBytes-1] == 1,
	}
}

// packName writes the bytes of an object's name, zeros for none.
func packName(to []byte, r dm.Revision) {
	if b, err := hex.DecodeString(string(r)); err == nil && len(b) == nameBytes {
		copy(to, b)
	}
}

func unpackName(from string) dm.Revision {
	if name := from[:nameBytes]; strings.Trim(name, "\x00") != "" {
		return dm.Revision(hex.EncodeToString([]byte(name)))
	}
	return ""
}

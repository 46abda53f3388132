package events

import (
	"cmp"
	"slices"
	"sort"

	dm "github.com/pndaproject/deployment-manager"
)

// Past is a run of events that were found in the record: all that follow After,
// up to Upto. It is filled by one goroutine, and then only read.
type Past struct {
	After, Upto uint64
	list        []entry
	bytes       int
}

// Add takes an event in any order; those outside the run are passed over. When
// they are too many or too long, the run ends earlier.
func (p *Past) Add(e dm.Event) {
	if e.Seq <= p.After || e.Seq > p.Upto {
		return
	}
	data := pack(e)
	p.list = append(p.list, entry{e.Seq, data})
	p.bytes += len(data)
	if len(p.list) >= 2*kept || p.bytes >= 2*keptBytes {
		p.Sort()
	}
}

// Sort ends the filling: Read may be called now.
func (p *Past) Sort() {
	slices.SortFunc(p.list, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	for len(p.list) > kept || len(p.list) > 1 && p.bytes > keptBytes {
		last := len(p.list) - 1
		p.bytes -= len(p.list[last].data)
		p.list = p.list[:last]
		p.Upto = p.list[last-1].seq
	}
}

// Has tells whether the run has what follows after.
func (p *Past) Has(after uint64) bool { return p != nil && p.After <= after && after < p.Upto }

// Read returns the events that follow after, oldest first, at most so many. None
// means that nothing follows up to Upto.
func (p *Past) Read(after uint64, most int) []dm.Event { return page(p.list, after, most) }

// page cuts the entries that follow after out of list.
func page(list []entry, after uint64, most int) []dm.Event {
	at := sort.Search(len(list), func(i int) bool { return list[i].seq > after })
	found := list[at:min(at+most, len(list))]
	events := make([]dm.Event, len(found))
	for i, e := range found {
		events[i] = unpack(e.seq, e.data)
	}
	return events
}

package apihandlers

import "time"

// pace measures how long a client lets us wait for its body. Waiting uses up
// what is left, and each byte gives back the time that it may take at minRate,
// up to most. So a client may stand still for most, in the long run it must keep
// the rate, and who is faster soon has all of its time again. What the reader
// of the body takes for its own work does not count.
type pace struct{ most, left time.Duration }

// minRate is in bytes per second. A client that sends single bytes makes no
// progress.
const minRate = 1 << 10

// bytes is how much one Read of a chunked body may ask for. It does not return
// before it has that much, or the chunk ends; who keeps the rate brings
// it in half of the time that is left, so that there is also time for a pause.
func (p *pace) bytes() int64 { return max(1, int64(minRate*p.left.Seconds()/2)) }

// brought notes n bytes that were waited for.
func (p *pace) brought(n int, waited time.Duration) {
	p.left = min(p.most, max(0, p.left-waited)+time.Duration(n)*time.Second/minRate)
}

package githttp

import "time"

// pace measures how long a client lets us wait for its body. Waiting uses up
// what is left, and each byte gives back the time that it may take at the rate,
// up to most. So a client may stand still for most, in the long run it must keep
// the rate, and who is faster soon has all of its time again. What the reader
// of the body takes for its own work does not count.
type pace struct {
	rate       float64 // bytes per second
	most, left time.Duration
}

func newPace(rate int64, most time.Duration) pace {
	return pace{rate: float64(rate), most: most, left: most}
}

// bytes is how much one Read may ask for. A Read of a chunked body does not
// return before it has that much, or the chunk ends; who keeps the rate brings
// it in half of the time that is left, so that there is also time for a pause.
func (p *pace) bytes() int64 { return max(1, int64(p.rate*p.left.Seconds()/2)) }

// brought notes n bytes that were waited for.
func (p *pace) brought(n int, waited time.Duration) {
	earned := time.Duration(float64(n) / p.rate * float64(time.Second))
	p.left = min(p.most, max(0, p.left-waited)+earned)
}

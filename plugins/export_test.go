package plugins

// Limit makes the limits of filling small enough for a test.
func (p *Planner) Limit(file, plan int) { p.limits = limits{file: file, plan: plan} }

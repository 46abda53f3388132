package gitstore

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// registerMetrics shows the size of the record.
func (s *Store) registerMetrics() error {
	if s.Registerer == nil {
		return nil
	}
	if err := s.upkeep.Register(s.Registerer); err != nil {
		return err
	}
	if err := s.registerPool(); err != nil {
		return err
	}
	gauges := map[string]struct {
		help  string
		count func() int
	}{
		"dm_packages":             {"Package names with at least one version.", func() int { return len(s.ListPackages(1)) }},
		"dm_applications":         {"Applications that exist.", func() int { return len(s.Applications()) }},
		"dm_applications_pending": {"Applications whose last change has no outcome yet.", func() int { return len(s.Pending()) }},
		"dm_damaged_repositories": {"Repositories that were set aside.", func() int { return s.service.Count(true) }},
		"dm_unread_repositories":  {"Repositories that could not be read yet and are tried again.", func() int { return s.service.Count(false) }},
	}
	for name, g := range gauges {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.help}, func() float64 { return float64(g.count()) })
		if err := s.Registerer.Register(gauge); err != nil {
			return err
		}
	}
	return nil
}

// registerPool shows how busy the pool of git is.
func (s *Store) registerPool() error {
	for c, name := range gitcmd.Classes() {
		label := prometheus.Labels{"class": name}
		running := func() float64 { n, _ := s.git.Busy(c); return float64(n) }
		waiting := func() float64 { _, n := s.git.Busy(c); return float64(n) }
		for _, gauge := range []prometheus.GaugeFunc{
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dm_git_processes", Help: "git commands that run now.", ConstLabels: label}, running),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dm_git_waiting", Help: "git commands that wait for a place now.", ConstLabels: label}, waiting),
		} {
			if err := s.Registerer.Register(gauge); err != nil {
				return err
			}
		}
	}
	return nil
}

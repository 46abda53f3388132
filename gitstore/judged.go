package gitstore

import (
	"context"
	"fmt"
	"strconv"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// Bounds of what is told, and kept, of the findings on one version.
const (
	maxTold      = 20
	maxToldText  = 300     // bytes of one text
	maxToldBytes = 4 << 10 // of all, written as JSON in ASCII
)

// validate judges a package as its deploy would. top is its outer directory.
// What files makes may take memory, so it is made when it is this one's turn.
func (s *Store) validate(ctx context.Context, ref dm.PackageRef, top string, files func() (*treefs.Sketch, error)) (dm.Validation, error) {
	room, err := s.planning.enter(ctx)
	if err != nil {
		return dm.Validation{}, err
	}
	defer room.end()
	f, err := files()
	if err != nil {
		return dm.Validation{}, err
	}
	return s.Planner.Validate(ref, top, f)
}

// judged validates an upload that has arrived whole.
func (s *Store) judged(ctx context.Context, ref dm.PackageRef, up *upload) error {
	v, err := s.validate(ctx, ref, up.top, up.sketch)
	up.findings, up.notes = few(findingTexts(v.Findings)), few(v.Notes)
	return err
}

func findingTexts(findings []dm.Finding) []string {
	texts := make([]string, len(findings))
	for i, f := range findings {
		texts[i] = f.String()
	}
	return texts
}

// few are the first of texts, cut to what a header and a trailer may hold, and
// how many there are beyond.
func few(texts []string) []string {
	var list []string
	left := maxToldBytes
	for i, text := range texts {
		text = dm.OneLine(text)
		if len(text) > maxToldText {
			end := maxToldText
			for !utf8.RuneStart(text[end]) {
				end--
			}
			text = text[:end] + "…"
		}
		left -= len(strconv.QuoteToASCII(text)) + len(", ")
		if left < 0 || i == maxTold {
			return append(list, fmt.Sprintf("and %d more", len(texts)-i))
		}
		list = append(list, text)
	}
	return list
}

// tilesjudge: reads a directory in the layout of c2sp.org/tlog-tiles with golang.org/x/mod/sumdb/{note,tlog}.
//
// usage: tilesjudge <directory> <log vkey>
//
// The hash of every leaf is read through tlog.TileHashReader, which authenticates all tiles against the signed
// root; every entry has to hash to its leaf.  A file that the specification does not have is refused.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func die(f string, a ...any) { fmt.Printf("FAIL "+f+"\n", a...); os.Exit(1) }

func check(err error) {
	if err != nil {
		die("%v", err)
	}
}

func path(kind string, n int64, width int) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	s = "tile/" + kind + "/" + s
	if width < 256 {
		s += fmt.Sprintf(".p/%d", width)
	}
	return s
}

type reader struct {
	dir  string
	seen map[string]bool
}

func (r reader) Height() int { return 8 }
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, t := range tiles {
		name := path(strconv.Itoa(t.L), t.N, t.W)
		data, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			return nil, err
		}
		r.seen[name] = true
		found = append(found, data)
	}
	return found, nil
}
func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	dir, vkey := os.Args[1], os.Args[2]
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err)
	verifier, err := note.NewVerifier(vkey)
	check(err)
	n, err := note.Open(signed, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(n.Text, "\n")
	if lines[0] != verifier.Name() {
		die("the origin is %s", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	tiles := reader{dir, map[string]bool{"checkpoint": true}}
	hashes := tlog.TileHashReader(tree, tiles)
	entries := 0
	for first := int64(0); first < size; first += 256 {
		width := int(min(256, size-first))
		var indexes []int64
		for i := range width {
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
		}
		leaves, err := hashes.ReadHashes(indexes)
		check(err)
		name := path("entries", first/256, width)
		data, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue // the records are gone
		}
		check(err)
		tiles.seen[name] = true
		for i := range width {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				die("%s is cut off", name)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			if tlog.RecordHash(data[2:end]) != leaves[i] {
				die("entry %d is not its leaf", first+int64(i))
			}
			data = data[end:]
			entries++
		}
		if len(data) > 0 {
			die("%s has more than its entries", name)
		}
	}
	// The levels above, complete and partial, which readers of another size need.
	for level, count := 0, size; count > 0; level, count = level+1, count/256 {
		for i := int64(0); i*256 < count; i++ {
			width := int(min(256, count-i*256))
			name := path(strconv.Itoa(level), i, width)
			data, err := os.ReadFile(filepath.Join(dir, name))
			check(err)
			if len(data) != 32*width {
				die("%s has %d bytes", name, len(data))
			}
			var wanted []int64
			for j := range width {
				wanted = append(wanted, tlog.StoredHashIndex(8*level, i*256+int64(j)))
			}
			found, err := hashes.ReadHashes(wanted)
			check(err)
			for j := range width {
				if string(data[32*j:32*j+32]) != string(found[j][:]) {
					die("%s has another hash at %d", name, j)
				}
			}
			tiles.seen[name] = true
		}
	}
	check(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if !tiles.seen[name] {
			die("%s is not part of the tree", name)
		}
		return err
	}))
	fmt.Printf("OK %d leaves, %d entries\n", size, entries)
}

// witnessclient: a log and its client of c2sp.org/tlog-witness, made with golang.org/x/mod/sumdb/{note,tlog} alone.
//
// usage: witnessclient <url> <witness vkey (cosignature/v1)> <log secret key> <fork at size or 0> <size>...
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
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

// cosigner verifies cosignature/v1 (type 4), which x/mod does not know.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if raw[0] != 4 {
		die("the witness's key has type %d", raw[0])
	}
	sum := sha256.Sum256([]byte(parts[0] + "\n" + string(raw)))
	return cosigner{parts[0], binary.BigEndian.Uint32(sum[:4]), raw[1:]}
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig[:8])
	text := fmt.Sprintf("cosignature/v1\ntime %d\n%s", seconds, msg)
	return ed25519.Verify(c.key, []byte(text), sig[8:])
}

// tree keeps every stored hash of a log in memory.
type tree struct {
	hashes []tlog.Hash
	size   int64
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		found[i] = t.hashes[x]
	}
	return found, nil
}

func (t *tree) grow(size int64, salt string) {
	for ; t.size < size; t.size++ {
		more, err := tlog.StoredHashes(t.size, []byte(fmt.Sprintf("%s record %d", salt, t.size)), t)
		check(err)
		t.hashes = append(t.hashes, more...)
	}
}

func post(url string, old int64, t *tree, s note.Signer) (int, string, []byte) {
	root, err := tlog.TreeHash(t.size, t)
	check(err)
	text := fmt.Sprintf("%s\n%d\n%s\n", s.Name(), t.size, root)
	signed, err := note.Sign(&note.Note{Text: text}, s)
	check(err)
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	if old > 0 && old < t.size {
		proof, err := tlog.ProveTree(t.size, old, t)
		check(err)
		for _, h := range proof {
			fmt.Fprintf(&body, "%s\n", h)
		}
	}
	body.WriteString("\n")
	body.Write(signed)
	answer, err := http.Post(url+"/add-checkpoint", "text/plain", &body)
	check(err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	check(err)
	return answer.StatusCode, string(content), signed
}

func main() {
	if len(os.Args) < 6 {
		die("usage: witnessclient URL WITNESS-VKEY LOG-SECRET FORK SIZE...")
	}
	url, witness := os.Args[1], newCosigner(os.Args[2])
	signer, err := note.NewSigner(os.Args[3])
	check(err)
	fork, err := strconv.ParseInt(os.Args[4], 10, 64)
	check(err)
	t, old := &tree{}, int64(0)
	for _, arg := range os.Args[5:] {
		size, err := strconv.ParseInt(arg, 10, 64)
		check(err)
		salt := "true"
		if fork > 0 && size > fork { // write the log anew, with other records from the first on
			salt, t = "forged", &tree{}
		}
		t.grow(size, salt)
		status, answer, signed := post(url, old, t, signer)
		if status != 200 {
			fmt.Printf("%d %d %s\n", size, status, strings.TrimSpace(answer))
			continue
		}
		n, err := note.Open(append(signed, answer...), note.VerifierList(witness))
		check(err)
		if len(n.Sigs) != 1 {
			die("%d cosignatures", len(n.Sigs))
		}
		fmt.Printf("%d 200 cosigned\n", size)
		old = size
	}
}

package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// encodingNames says which content encodings a server takes.
const encodingNames = "gzip, zstd and identity are"

// decoders undo content encodings. None returns more than most bytes, nor allocates more for them; where there are more it
// returns errTooLong.
var decoders = map[string]func(body []byte, most int) ([]byte, error){
	"gzip": gunzip,
	"zstd": unzstd,
}

var (
	errTooLong = errors.New("decompressed body is too long")
	errWindow  = errors.New("zstd window is too large")
)

// supported tells the encodings that a request may have.
func supported(encoding string) bool {
	e := strings.ToLower(encoding)
	return e == "" || e == "identity" || decoders[e] != nil
}

// decompress undoes a content encoding; one that has no decoder leaves the body as it is.
func decompress(encoding string, body []byte, l Limits) (out []byte, err error) {
	encoding = strings.ToLower(encoding)
	decode := decoders[encoding]
	if decode == nil {
		return body, nil
	}
	defer func() { // for a bug in a library one message would end each server that it is delivered to
		if recover() != nil {
			out, err = nil, invalid("request body is not valid %s", encoding)
		}
	}()
	most := int(min(int64(l.Body), int64(l.Ratio)*int64(len(body))))
	out, err = decode(body, most)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, errWindow):
		return nil, invalid("request body needs a zstd window of more than %d bytes", maxWindow)
	case !errors.Is(err, errTooLong): // its text may quote the body
		return nil, invalid("request body is not valid %s", encoding)
	case most < l.Body:
		return nil, invalid("request body grows to more than %d times its size when it is decompressed", l.Ratio)
	}
	return nil, invalid("request body has more than %d bytes when it is decompressed", l.Body)
}

// A gunzipper is a reader of gzip with its source. It is kept for the 40 KB of its tables.
type gunzipper struct {
	source bytes.Reader
	gzip   gzip.Reader
}

var gunzippers = sync.Pool{New: func() any { return new(gunzipper) }}

func gunzip(body []byte, most int) ([]byte, error) {
	z := gunzippers.Get().(*gunzipper)
	defer gunzippers.Put(z)
	defer z.source.Reset(nil) // or the body would live as long as the pool
	z.source.Reset(body)
	if err := z.gzip.Reset(&z.source); err != nil {
		return nil, err
	}
	return readAll(&z.gzip, min(most, 4*len(body)), most)
}

// maxWindow is the most that RFC 9659 allows for the content encoding zstd. A decoder keeps as much in memory, and half a
// megabyte of tables.
const maxWindow = 8 << 20

// unzstders are the decoders of zstd: one for each processor, since more would only cost more windows. They are made here
// and now for the sake of tests: the channels inside of them must not belong to a bubble of synctest.
var unzstders = newUnzstders(runtime.GOMAXPROCS(0))

func newUnzstders(n int) chan *zstd.Decoder {
	all := make(chan *zstd.Decoder, n)
	for range n {
		all <- newUnzstder()
	}
	return all
}

func newUnzstder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		panic(err) // only for options that nobody may set
	}
	return d
}

// unzstd reads a stream, although all of the body is there: DecodeAll into a slice that has its limit says of some bodies
// that are too long that they are not valid.
func unzstd(body []byte, most int) ([]byte, error) {
	var first zstd.Header // of the first frame, mostly the only one
	if err := first.Decode(body); err != nil {
		return nil, err
	}
	size := min(most, 4*len(body))
	switch {
	case first.WindowSize > maxWindow:
		return nil, errWindow
	case first.HasFCS && first.FrameContentSize > uint64(most):
		return nil, errTooLong
	case first.SingleSegment && first.FrameContentSize > maxWindow:
		return nil, errWindow
	case first.HasFCS:
		size = int(first.FrameContentSize)
	}
	z, whole := <-unzstders, false
	defer func() {
		if !whole { // it panicked: who knows what it would do next
			z = newUnzstder()
		}
		unzstders <- z
	}()
	if err := z.Reset(bytes.NewReader(body)); err != nil {
		return nil, err
	}
	out, err := readAll(z, size, most)
	z.Reset(nil) // or the body would live as long as the decoder
	whole = true
	return out, err
}

// readAll is io.ReadAll for at most most bytes. It allocates size of them at first.
func readAll(r io.Reader, size, most int) ([]byte, error) {
	out, next := make([]byte, 0, size), make([]byte, 1)
	for {
		room := out[len(out):cap(out)]
		full := len(room) == 0
		if full {
			room = next // there may be no more
		}
		n, err := r.Read(room)
		switch {
		case !full:
			out = out[:len(out)+n]
		case n > 0 && len(out) == most:
			return nil, errTooLong
		case n > 0:
			more := make([]byte, len(out), min(most, max(2*cap(out), 512)))
			copy(more, out)
			out = append(more, next...)
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

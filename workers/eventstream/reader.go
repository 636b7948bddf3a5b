package eventstream

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// MaxMessage is the default limit for the bytes of one message.
const MaxMessage = 16 << 20

// Errors of a stream that is not one.
var (
	ErrTooLong = errors.New("eventstream: message longer than the limit")
	ErrCorrupt = errors.New("eventstream: message with a wrong checksum or headers")
)

// Message is one message.
type Message struct {
	Type    string // event, exception or error
	Name    string // of the event, the exception or the error
	Payload []byte
}

// Reader takes messages from a stream. Make one with [NewReader].
type Reader struct {
	src   io.Reader
	limit int
}

// NewReader reads messages of at most limit bytes from src; a limit of 0 means
// [MaxMessage].
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = MaxMessage
	}
	return &Reader{src, limit}
}

const (
	preludeSize = 12
	overhead    = preludeSize + 4
	// firstRead bounds what is taken for true of a length before its bytes
	// are there.
	firstRead = 64 << 10
)

// Next is the next message. Its payload belongs to the caller.
func (r *Reader) Next() (Message, error) {
	var prelude [preludeSize]byte
	if _, err := io.ReadFull(r.src, prelude[:]); err != nil {
		return Message{}, err // io.EOF only if there was nothing (I3)
	}
	total, headers := binary.BigEndian.Uint32(prelude[:]), binary.BigEndian.Uint32(prelude[4:])
	if crc32.ChecksumIEEE(prelude[:8]) != binary.BigEndian.Uint32(prelude[8:]) || total < overhead || headers > total-overhead {
		return Message{}, ErrCorrupt
	}
	if uint64(total) > uint64(r.limit) {
		return Message{}, ErrTooLong
	}
	rest, err := r.read(int(total) - preludeSize)
	if err != nil {
		return Message{}, err
	}
	body, sum := rest[:len(rest)-4], rest[len(rest)-4:]
	if crc32.Update(crc32.ChecksumIEEE(prelude[:]), crc32.IEEETable, body) != binary.BigEndian.Uint32(sum) {
		return Message{}, ErrCorrupt
	}
	m := Message{Payload: body[headers:]}
	return m, m.headers(body[:headers])
}

// read takes n bytes, making room as they come (I2).
func (r *Reader) read(n int) ([]byte, error) {
	buf := make([]byte, min(n, firstRead))
	have := 0
	for {
		k, err := io.ReadFull(r.src, buf[have:])
		have += k
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if have == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 2*len(buf)))
		copy(grown, buf)
		buf = grown
	}
}

// sizes are the bytes of a header's value by its type; -1: two bytes say it.
var sizes = [...]int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16}

const stringType = 7

// headers reads the headers that say what a message is, and passes over
// others.
func (m *Message) headers(b []byte) error {
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || len(b) < n+2 {
			return ErrCorrupt
		}
		name, kind := string(b[1:1+n]), int(b[1+n])
		b = b[2+n:]
		if kind >= len(sizes) {
			return ErrCorrupt
		}
		size := sizes[kind]
		if size < 0 {
			if len(b) < 2 {
				return ErrCorrupt
			}
			size, b = int(binary.BigEndian.Uint16(b)), b[2:]
		}
		if len(b) < size {
			return ErrCorrupt
		}
		if kind == stringType {
			m.header(name, string(b[:size]))
		}
		b = b[size:]
	}
	return nil
}

func (m *Message) header(name, value string) {
	switch name {
	case ":message-type":
		m.Type = value
	case ":event-type", ":exception-type", ":error-code":
		m.Name = value
	}
}

// Append writes a message as [Reader] reads it, for tests and providers of
// tests.
func (m Message) Append(b []byte) []byte {
	name := map[string]string{"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}[m.Type]
	var headers []byte
	for _, h := range [...][2]string{{name, m.Name}, {":content-type", "application/json"}, {":message-type", m.Type}} {
		headers = append(append(append(headers, byte(len(h[0]))), h[0]...), stringType)
		headers = append(binary.BigEndian.AppendUint16(headers, uint16(len(h[1]))), h[1]...)
	}
	from := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(overhead+len(headers)+len(m.Payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
	b = append(append(b, headers...), m.Payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
}

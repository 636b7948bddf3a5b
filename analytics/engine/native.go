package engine

import (
	"bytes"
	"errors"
	"io"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// The revisions of the Native format that change its bytes: 0 is bare, from
// the first one on a block begins with an info, from the second a column with
// a flag.
const (
	revisionBlockInfo     = 51903
	revisionSerialization = 54454
)

// recode rewrites Native blocks of revision 0, which is all that the engine
// writes, for a client that asked for a later revision.
func recode(dst *chproto.Buffer, src []byte, revision uint64) error {
	dst.Reset()
	reader := chproto.NewReader(bytes.NewReader(src))
	for {
		block := proto.NewBlock()
		if err := block.Decode(reader, 0); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return exceptionf(codeNotImplemented, "A column of the result has no translation to the client's protocol: "+
				"cast it to a plainer type, or drop client_protocol_version (%v)", err)
		}
		if err := block.Encode(dst, revision); err != nil {
			return exceptionf(codeLogicalError, "Cannot encode a block: %v", err)
		}
	}
}

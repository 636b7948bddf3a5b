package wire

import (
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// MaxChoices bounds the answers that one job asks for.
const MaxChoices = 1024

// parseChoices reads how many answers are generated, each with all the output
// that the job allows; only two endpoints can give several.
func (j *Job) parseChoices(f *bodyFields) *Error {
	if j.Endpoint != ChatCompletions && j.Endpoint != Completions {
		return nil
	}
	for _, x := range [...]struct {
		name string
		raw  []byte
	}{{"n", f.n}, {"best_of", f.bestOf}} {
		if jsonscan.Null(x.raw) {
			continue
		}
		n, err := strconv.Atoi(string(x.raw))
		if err != nil || n < 1 || n > MaxChoices {
			return Errorf(CodeInvalidRequest, x.name, "the field %s must be a whole number from 1 to %d", x.name, MaxChoices)
		}
		j.Choices = max(j.Choices, n)
	}
	if j.Choices == 1 {
		j.Choices = 0
	}
	return nil
}

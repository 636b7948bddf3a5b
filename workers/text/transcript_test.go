package text

import (
	"strings"
	"testing"
)

// The text of prompts, of all endpoints, as people would read it.
func TestPrompt(t *testing.T) {
	png := strings.Repeat("iVBORw0K", 100)
	for name, c := range map[string]struct{ body, want string }{
		"chat": {`{"model":"chat","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi\nthere \u00e4\u0040x"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}}]},{"role":"tool","tool_call_id":"c","content":"sunny"}],"tools":[{"function":{"name":"left out"}}],"user":"left-out"}`,
			"system: Be brief.\nuser: Hi\nthere ä@x\nassistant: [call weather] {\"city\":\"Paris\"}\ntool: sunny"},
		"parts": {`{"messages":[{"role":"user","content":[{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + png + `"}},{"type":"image_url","image_url":{"url":"https://x.example/cat.png"}},{"type":"input_audio","input_audio":{"data":"` + png + `","format":"wav"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + png + `"}}]}]}`,
			"user: what is this?\n[image image/png, 600 bytes]\n[image https://x.example/cat.png]\n[audio wav, 600 bytes]\na.pdf\n[file application/pdf, 600 bytes]"},
		"data URL in a text": {`{"messages":[{"role":"user","content":"see ![x](data:image/gif;base64,` + png + `) ok"}]}`, "user: see ![x]([data image/gif, 600 bytes]) ok"},
		"messages": {`{"system":[{"type":"text","text":"Be kind."}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"` + png + `"}},{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"42"}]},{"type":"document","title":"T","source":{"type":"text","data":"inside"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"tool_use","name":"add","input":{"a":1,"b":"<2>"}}]}]}`,
			"system: Be kind.\nuser: [image image/jpeg, 600 bytes]\n42\nT\ninside\nassistant: [thinking] hm\n[call add] {\"a\":1,\"b\":\"<2>\"}"},
		"responses": {`{"instructions":"Be calm.","input":[{"role":"user","content":[{"type":"input_text","text":"go"},{"type":"input_image","image_url":"data:image/png;base64,` + png + `"}]},{"type":"function_call","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"done"}]}`,
			"system: Be calm.\nuser: go\n[image image/png, 600 bytes]\nuser: [call f] {}\nuser: done"},
		"responses, a string": {`{"input":"just this"}`, "user: just this"},
		"completions":         {`{"prompt":["a","b"]}`, "user: a\nuser: b"},
		"embeddings":          {`{"input":["first","second"]}`, "user: first\nuser: second"},
		"tokens":              {`{"input":[1,2,3]}`, "user: [3 tokens]"},
		"nothing":             {`{"model":"m"}`, ""},
		"no JSON":             {`{"messages":[`, ""},
		"of wrong types":      {`{"messages":{"role":7},"input":[[null],{"type":3,"content":{"x":[]}}],"prompt":false,"system":4}`, ""},
	} {
		if got := Prompt([]byte(c.body)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

// The text of answers, of all endpoints.
func TestAnswer(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"chat":       {`{"choices":[{"message":{"role":"assistant","content":"Hello.","refusal":null}}]}`, "Hello."},
		"two":        {`{"choices":[{"message":{"content":"A"}},{"message":{"content":"B"}}]}`, "A\nB"},
		"reasoning":  {`{"choices":[{"message":{"reasoning_content":"hm","content":"A"}}]}`, "[thinking] hm\nA"},
		"a call":     {`{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]}}]}`, `[call f] {"x":1}`},
		"refused":    {`{"choices":[{"message":{"content":null,"refusal":"No."}}]}`, "No."},
		"completion": {`{"choices":[{"text":"once"}]}`, "once"},
		"message":    {`{"type":"message","content":[{"type":"text","text":"Hi"},{"type":"tool_use","name":"f","input":{}}]}`, "Hi\n[call f] {}"},
		"response":   {`{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"thought"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]},{"type":"function_call","name":"f","arguments":"{}"}]}`, "[thinking]\nthought\nassistant: Hi\n[call f] {}"},
		"embeddings": {`{"data":[{"embedding":[0.1]},{"embedding":"AAA="}]}`, "[2 embeddings]"},
		"an error":   {`{"error":{"message":"x"}}`, ""},
	} {
		if got := Answer([]byte(c.body)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

// No body makes it panic, or gives what is not valid.
func FuzzTranscript(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:;base64,AA"}}]}],"choices":[{"message":{"tool_calls":[{"function":{}}]}}]}`))
	f.Add([]byte(`{"input":[{"type":"file","file":[]}],"output":[{"type":"reasoning"}],"content":{"type":"image","source":{"type":"content"}}}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		_, _ = Prompt(body), Answer(body)
	})
}

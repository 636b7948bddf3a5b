// Package invoice compares what a provider says it was paid for with what
// Sluice's tables say was spent, day by day and model by model.
//
//	export files ─Read─▶ Export ─┐
//	                             ├─Compare─▶ Report
//	attempts ────────────Ours────┘
//
// It reads OpenAI's and Anthropic's usage and cost reports, as their APIs give
// them (JSON pages) and as their consoles export them (CSV), and a plain CSV
// (read.go says which columns). Several files make one export: one of costs and
// one of usage, or pages.
//
// It opens no connection of its own, and keeps nothing.
//
// # Invariants
//
//	I1  A figure that an export does not have is not compared: unknown is not
//	    zero. A day inside the export's span that has no line is zero there.
//	I2  Buckets of tokens are disjoint. Where an export cannot tell two of them
//	    apart, they are added up on both sides.
//	I3  What cannot be read, or is of another currency or span, is an error:
//	    nothing of a file is skipped silently.
//	I4  Money is summed up in whole nano-dollars.
package invoice

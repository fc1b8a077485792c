"""Labels from people: choosing rows, handing them out, collecting answers, settling on labels."""

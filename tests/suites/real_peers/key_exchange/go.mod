module dromon.io/tests/key-exchange

go 1.25

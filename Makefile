# The race detector needs a C compiler; without one the tests still run.
race := $(if $(shell command -v $${CC:-gcc}),-race)

.PHONY: help build test test-long chaos chaos-cluster soak soak-daemon demo check vuln fmt clean install-broker install-postgres

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/rabbitrpc
	go build -o bin/rabbitrpc ./cmd/rabbitrpc

test-long: ## run the tests that take minutes as well, ten thousand seeds of the simulation, and each mutant
	scripts/install rabbitmq-server postgresql python3-pika
	RABBITRPC_SEEDS=10000 go test ./internal/simulation
	RABBITRPC_LONG=1 RABBITRPC_TIMES=50 go test -p 1 -timeout 40m -v ./client ./chaos ./cmd/rabbitrpc ./internal/mutant ./internal/endtoend ./idempotency/...

test: ## run all tests, on real servers that they start and end themselves
	scripts/install rabbitmq-server postgresql python3-pika chromium
	$(if $(race),,@echo "no C compiler: testing without the race detector")
	go test $(race) -short -p 2 -timeout 10m $$(go list ./... | grep -v '/cmd/rabbitrpc$$')
	go test -short -timeout 10m ./cmd/rabbitrpc # starts hundreds of processes, which the race detector would slow down

chaos: build ## run the catalogue of faults, each point where a server can die, runs in which a guard is missing, and a server in Python
	scripts/install rabbitmq-server postgresql python3-pika python3-psycopg2 nftables iproute2
	RABBITRPC_LONG=1 go test -timeout 10m -parallel 4 -run 'AtEachPoint|Trials|Guards|Python' ./internal/endtoend ./chaos/scenario
	bin/rabbitrpc chaos run all

soak: build ## break all at random for an hour
	scripts/install rabbitmq-server postgresql
	bin/rabbitrpc chaos run bank --duration 1h --callers 32

soak-daemon: ## a daemon under load for half an hour, with a restart of its broker each minute
	scripts/install rabbitmq-server
	RABBITRPC_LONG=1 RABBITRPC_SOAK=30m go test -timeout 40m -v -run TestDaemonForLong ./cmd/rabbitrpc

chaos-cluster: ## run the tests on clusters of three, as root: nodes are killed, frozen, cut off and restarted under load
	scripts/install rabbitmq-server nftables iproute2
	RABBITRPC_CLUSTER=1 go test $(race) -p 1 -timeout 15m -v -run 'Cluster|Namespace|NothingIsLeft' ./chaos ./internal/endtoend

demo: install-broker ## see calls survive the end of a server and of the broker
	go run ./cmd/rabbitrpc demo

check: ## look for what is wrong without running it
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

vuln: ## look for known vulnerabilities in what is called, by the database in its Go module
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db file://$$(go mod download -json golang.org/x/vulndb@latest | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/data/osv ./...

fmt: ## format the source
	gofmt -w .

install-broker: ## install RabbitMQ if there is none
	@scripts/install rabbitmq-server

install-postgres: ## install PostgreSQL if there is none
	@scripts/install postgresql

clean: ## remove what was built
	rm -rf bin

// A client and a server of TLS by Go's own library, which offers X25519MLKEM768 unless told otherwise, and say what was
// agreed on:
//
//	key-exchange serve ADDRESS CERTIFICATE KEY
//	key-exchange ask ADDRESS NAME default|classical [CERTIFICATE KEY]
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(mode string, arguments []string) error {
	if mode == "serve" {
		return serve(arguments[0], arguments[1], arguments[2])
	}
	// Who the server is, others' tests ask.
	config := &tls.Config{ServerName: arguments[1], InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if arguments[2] == "classical" {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	if len(arguments) > 3 {
		pair, err := tls.LoadX509KeyPair(arguments[3], arguments[4])
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{pair}
		config.NextProtos = []string{"istio-http/1.1"}
	}
	connection, err := tls.Dial("tcp", arguments[0], config)
	if err != nil {
		return err
	}
	fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", arguments[1])
	answer, err := io.ReadAll(connection)
	if err != nil {
		return err
	}
	fmt.Println(connection.ConnectionState().CurveID)
	_, err = os.Stdout.Write(answer)
	return err
}

// serve answers each connection's one request with what was agreed on.
func serve(address, certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(connection)
	}
}

func answer(connection net.Conn) {
	defer connection.Close()
	if _, err := connection.Read(make([]byte, 16*1024)); err != nil {
		return
	}
	curve := connection.(*tls.Conn).ConnectionState().CurveID.String()
	head := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
	fmt.Fprintf(connection, head, len(curve), curve)
}

// minio-go, the client in restic, mc, Velero and others: put with known and unknown length, ranges, listing, removal.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/minio/minio-go/v7" {
				fmt.Println("version minio-go", module.Version)
			}
		}
	}
	ctx, bucket := context.Background(), os.Args[1]
	endpoint, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	must(err)
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds:           credentials.NewEnvAWS(),
		Secure:          endpoint.Scheme == "https",
		TrailingHeaders: true,
	})
	must(err)
	must(client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}))
	small, big := make([]byte, 70_000), make([]byte, 40<<20)
	_, _ = rand.Read(small)
	_, _ = rand.Read(big)
	put := func(name string, body []byte, size int64) {
		_, err := client.PutObject(ctx, bucket, name, bytes.NewReader(body), size, minio.PutObjectOptions{PartSize: 8 << 20})
		must(err)
	}
	same := func(name string, body []byte) {
		object, err := client.GetObject(ctx, bucket, name, minio.GetObjectOptions{})
		must(err)
		seen, err := io.ReadAll(object)
		must(err)
		if !bytes.Equal(seen, body) {
			panic(name + " differs")
		}
	}
	put("a/ü b", small, int64(len(small)))
	put("known", big, int64(len(big)))
	put("unknown", big, -1)
	same("a/ü b", small)
	same("known", big)
	same("unknown", big)
	options := minio.GetObjectOptions{}
	must(options.SetRange(1_000_000, 1_000_099))
	object, err := client.GetObject(ctx, bucket, "known", options)
	must(err)
	part, err := io.ReadAll(object)
	must(err)
	if !bytes.Equal(part, big[1_000_000:1_000_100]) {
		panic("the range differs")
	}
	names := ""
	for entry := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		must(entry.Err)
		names += entry.Key + ","
		must(client.RemoveObject(ctx, bucket, entry.Key, minio.RemoveObjectOptions{}))
	}
	if names != "a/ü b,known,unknown," {
		panic("listed: " + names)
	}
	must(client.RemoveBucket(ctx, bucket))
}

package natsd

import (
	"reflect"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What the server keeps in memory of what streams have written: the blocks of
// a file that were written or read within cacheExpire, of at most blockSize.
// Its own values are 10 s and, of most streams, 8 MiB: with 3,600 jobs a second
// these are 100 MiB. With a second it was still half of a batch's memory. What
// is asked for later is read from its file again, a block at a time.
const (
	cacheExpire = 250 * time.Millisecond
	blockSize   = 4 << 20 // which the server has buffers of
)

// tuneBlocks gives the streams that there are now these values, and the first of
// them the blocks that there are too, and says how many streams it has seen. The
// server has no setting for them: this sets fields of its own, under its own
// locks. In a version where they are not found it does nothing, see
// TestBlocksAreLetGo.
func tuneBlocks(srv *server.Server) (seen int) {
	acc := srv.GlobalAccount()
	if acc == nil {
		return 0
	}
	var js reflect.Value
	var stores []reflect.Value
	account := reflect.ValueOf(acc)
	reading(account, func() { js = reach(account, "js") })
	reading(js, func() {
		if streams := reach(js, "streams"); streams.Kind() == reflect.Map {
			for _, s := range streams.Seq2() {
				stores = append(stores, s)
			}
		}
	})
	for _, stream := range stores {
		var fs reflect.Value
		reading(stream, func() {
			if store := reach(stream, "store"); store.Kind() == reflect.Interface {
				fs = store.Elem()
			}
		})
		c, ok := address(reach(fs, "fcfg")).(*server.FileStoreConfig)
		mu, lockable := address(reach(fs, "mu")).(*sync.RWMutex)
		if !ok || !lockable {
			continue
		}
		seen++
		mu.Lock()
		c.BlockSize = min(c.BlockSize, blockSize)
		if c.CacheExpire > cacheExpire {
			c.CacheExpire = cacheExpire
			letGo(reach(fs, "blks"))
		}
		mu.Unlock()
	}
	return seen
}

// letGo has a stream's blocks expire with cacheExpire. Those to come take it
// from the stream.
func letGo(blocks reflect.Value) {
	if blocks.Kind() != reflect.Slice {
		return
	}
	for _, block := range blocks.Seq2() {
		mu, lockable := address(reach(block, "mu")).(*sync.RWMutex)
		expire, ok := address(reach(block, "cexp")).(*time.Duration)
		if !ok || !lockable {
			return
		}
		mu.Lock()
		*expire = min(*expire, cacheExpire)
		mu.Unlock()
	}
}

// reach is a field of the struct that p points to, whoever may see it; zero if
// there is none.
func reach(p reflect.Value, name string) reflect.Value {
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return reflect.Value{}
	}
	f := p.Elem().FieldByName(name)
	if !f.IsValid() {
		return f
	}
	return reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem()
}

// address is a pointer to a field; nil if there is no such field.
func address(field reflect.Value) any {
	if !field.IsValid() {
		return nil
	}
	return field.Addr().Interface()
}

// reading calls f while the lock of the struct that p points to is held for
// reading; not at all if it has none.
func reading(p reflect.Value, f func()) {
	if mu, ok := address(reach(p, "mu")).(*sync.RWMutex); ok {
		mu.RLock()
		defer mu.RUnlock()
		f()
	}
}

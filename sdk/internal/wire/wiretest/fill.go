// Package wiretest fills contract types with values that differ, so that tests
// of the wire notice a field that is lost or mixed up.
package wiretest

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"
)

// Filler fills values; no two fields get the same one. Its zero value is ready.
type Filler struct{ n int }

// Fill sets every exported field below the value that p points to. Kinds that
// the contracts do not use are a panic.
func (f *Filler) Fill(p any) { f.fill(reflect.ValueOf(p).Elem()) }

func (f *Filler) fill(v reflect.Value) {
	f.n++
	if f.special(v) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("s", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n % 250))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(val)
		v.SetMapIndex(key, val)
	default:
		panic(fmt.Sprintf("wiretest: %s", v.Type()))
	}
}

// special fills types that are values, not structures.
func (f *Filler) special(v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(int64(f.n), int64(f.n)).UTC()
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 0, 0, byte(f.n)})
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(f.n), 0, 0}), 16)
	default:
		return false
	}
	return true
}

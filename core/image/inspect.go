package image

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	apistorage "github.com/moby/moby/api/types/storage"
)

// Inspect implements images.Backend.
func (s *Service) Inspect(ctx context.Context, ref string) (image.InspectResponse, error) {
	r, err := s.find(ref)
	if err != nil {
		return image.InspectResponse{}, err
	}
	c, err := s.config(r)
	if err != nil {
		return image.InspectResponse{}, err
	}
	s.mu.RLock()
	names := s.index.namesOf(r.ID)
	var tagged time.Time
	for _, n := range names {
		if t := s.index.names[n].Tagged; t.After(tagged) {
			tagged = t
		}
	}
	s.mu.RUnlock()
	tags, digests := split(names)
	out := image.InspectResponse{
		ID: r.ID.String(), RepoTags: tags, RepoDigests: digests, Comment: c.Comment, Author: c.Author,
		Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, OsVersion: c.OSVersion, Size: r.size(),
		RootFS: image.RootFS{Type: "layers"}, Metadata: image.Metadata{LastTagTime: tagged},
	}
	if c.Created != nil {
		out.Created = c.Created.Format(time.RFC3339Nano)
	}
	for _, l := range r.Layers {
		out.RootFS.Layers = append(out.RootFS.Layers, l.DiffID.String())
	}
	if len(c.Config) > 0 {
		if err := json.Unmarshal(c.Config, &out.Config); err != nil {
			return out, fmt.Errorf("image %s: configuration: %w: %w", short(r.ID), err, errdefs.ErrDataLoss)
		}
	}
	// A driver that was never there leaves the field out and the rest true.
	if info, err := s.c.Drivers.Storage().Info(ctx); err == nil {
		out.GraphDriver = &apistorage.DriverData{Name: info.Name, Data: map[string]string{"Snapshot": string(r.chain())}}
	}
	return out, nil
}

// History implements images.Backend: newest first, sizes with the entries that
// made a layer.
func (s *Service) History(_ context.Context, ref string) ([]image.HistoryResponseItem, error) {
	r, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	c, err := s.config(r)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	tags, _ := split(s.index.namesOf(r.ID))
	s.mu.RUnlock()
	out := make([]image.HistoryResponseItem, len(c.History))
	next := 0
	for i, h := range c.History {
		item := image.HistoryResponseItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer && next < len(r.Layers) {
			item.Size = r.Layers[next].Size
			next++
		}
		out[len(out)-1-i] = item
	}
	if len(out) > 0 {
		out[0].ID, out[0].Tags = r.ID.String(), tags
	}
	return out, nil
}

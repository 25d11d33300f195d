/* How outputs are written: to their place, or past the cache (streaming). For streaming, results are
   collected in a buffer in L1, which is then written in whole cache lines. */

enum { BUFFER_BYTES = 512 }; /* small, so that writing it overlaps with the loads that follow */

typedef struct {
    int stream;
    char *to;        /* where the buffer's contents belong */
    ptrdiff_t used;  /* bytes in the buffer */
    ptrdiff_t limit; /* bytes that it may hold, so that it ends where a cache line of `to` ends */
    _Alignas(BN_LINE) char buffer[BUFFER_BYTES];
} output;

static inline void output_begin(output *out, int stream)
{
    out->stream = stream;
    out->used = out->limit = 0;
    out->to = NULL;
}

static inline void output_flush(output *out)
{
    if (out->used == 0) return;
    char *to = out->to;
    const char *from = out->buffer;
    ptrdiff_t bytes = out->used, head = (ptrdiff_t)(-(uintptr_t)to % BN_LINE);
    if (head > bytes) head = bytes;
    memcpy(to, from, head);
    for (to += head, from += head, bytes -= head; bytes >= BN_LINE;
         to += BN_LINE, from += BN_LINE, bytes -= BN_LINE)
        stream_line(to, from);
    memcpy(to, from, bytes);
    out->used = 0;
}

/* How many of `bytes` that belong at `place` can be written now, and to where (*at). */
ALWAYS_INLINE ptrdiff_t output_reserve(output *out, void *place, ptrdiff_t bytes, void **at)
{
    *at = place;
    if (!out->stream) return bytes;
    if (out->used == out->limit || (char *)place != out->to + out->used) {
        output_flush(out);
        out->to = place;
        out->limit = BUFFER_BYTES - (ptrdiff_t)((uintptr_t)place % BN_LINE);
    }
    *at = out->buffer + out->used;
    return bn_min(bytes, out->limit - out->used);
}

ALWAYS_INLINE void output_advance(output *out, ptrdiff_t bytes)
{
    if (out->stream) out->used += bytes;
}

static inline void output_end(output *out)
{
    if (!out->stream) return;
    output_flush(out);
    stream_fence();
}

/* Results on their way to memory: straight to their place, or past the cache by way of a stage in L1
   that is written out whole lines at a time. */

enum { STAGE_BYTES = 512 }; /* few, so that the loads of what follows overlap with writing them */

typedef struct {
    int stream;
    char *to;         /* the place of what is staged */
    ptrdiff_t staged; /* bytes, of at most `limit`: the stage ends where a line ends */
    ptrdiff_t limit;
    _Alignas(BN_LINE) char stage[STAGE_BYTES];
} output;

static inline void begin(output *out, int stream)
{
    out->stream = stream;
    out->staged = out->limit = 0;
    out->to = NULL;
}

static inline void flush(output *out)
{
    if (out->staged == 0) return;
    char *to = out->to;
    const char *from = out->stage;
    ptrdiff_t bytes = out->staged, head = (ptrdiff_t)(-(uintptr_t)to % BN_LINE);
    if (head > bytes) head = bytes;
    memcpy(to, from, head);
    for (to += head, from += head, bytes -= head; bytes >= BN_LINE;
         to += BN_LINE, from += BN_LINE, bytes -= BN_LINE) {
        STREAM_LINE(to, from);
    }
    memcpy(to, from, bytes);
    out->staged = 0;
}

/* How many of `bytes` that belong at `place` can be written at once, and where (*at). */
ALWAYS_INLINE ptrdiff_t reserve(output *out, void *place, ptrdiff_t bytes, void **at)
{
    *at = place;
    if (!out->stream) return bytes;
    if (out->staged == out->limit || (char *)place != out->to + out->staged) {
        flush(out);
        out->to = place;
        out->limit = STAGE_BYTES - (ptrdiff_t)((uintptr_t)place % BN_LINE);
    }
    *at = out->stage + out->staged;
    return bytes < out->limit - out->staged ? bytes : out->limit - out->staged;
}

ALWAYS_INLINE void advance(output *out, ptrdiff_t bytes)
{
    if (out->stream) out->staged += bytes;
}

static inline void finish(output *out)
{
    if (!out->stream) return;
    flush(out);
    STREAM_FENCE();
}

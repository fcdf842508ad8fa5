/* Numbers. REAL_IS_FLOAT and TILE (trials side by side) come from the lines before this text. */
#ifdef REAL_IS_FLOAT
typedef float real;
#define EXPREL_NEAR (real)0.3
#define R(name) name##f
#else
typedef double real;
#define EXPREL_NEAR (real)0.02
#define R(name) name
#endif
typedef unsigned char byte;
typedef unsigned short ushort;

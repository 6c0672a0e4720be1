#pragma once
/// On a namespace of a public header: a shared octet exports what is declared in it, and nothing
/// else.
#define OCTET_EXPORT [[gnu::visibility("default")]]
